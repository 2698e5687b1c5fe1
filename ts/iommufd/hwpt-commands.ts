/** Commands on page tables and on the hardware: `IOMMU_HWPT_*`, `IOMMU_GET_HW_INFO`. */
import type { IoctlArgument } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { status, syscall } from '../native/syscall.ts'
import {
  IOMMU_HW_INFO_FLAG_INPUT_TYPE,
  IOMMU_HW_INFO_TYPE_DEFAULT,
  IOMMU_HWPT_DATA_NONE,
  IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
  IOMMU_HWPT_FAULT_ID_VALID,
  IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
} from '../uapi/constants.ts'
import type { ErrnoName } from '../uapi/errno.ts'
import { iommuHwInfo, iommuHwptAlloc, iommuHwptGetDirtyBitmap, iommuHwptSetDirtyTracking } from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import { IommufdDevice } from './device.ts'
import { FaultQueue } from './fault-queue.ts'
import { compatible } from './hardware.ts'
import { checkNestedFlags, HwptNested } from './hwpt-nested.ts'
import { HwptPaging } from './hwpt.ts'
import { IoasObject } from './ioas.ts'
import type { IommufdObject } from './object.ts'
import type { UserData } from './user-data.ts'
import { Viommu } from './viommu.ts'

/** The structures as they were at first; what came later may be missing. */
const HWPT_ALLOC_LEAST = 24
const HW_INFO_LEAST = 32

/** `IOMMU_HWPT_ALLOC`. @throws {VfioError} EOPNOTSUPP, EINVAL, ENOENT, EADDRINUSE, EFAULT, ENOMEM */
export function hwptAlloc(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_HWPT_ALLOC'
  const command = takeCommand(argument, iommuHwptAlloc, operation, HWPT_ALLOC_LEAST)
  const { flags, devId, ptId, __reserved, dataType, dataLen, dataUptr, faultId } = command.value
  requireZero(__reserved, operation)
  if ((dataType === IOMMU_HWPT_DATA_NONE) !== (dataLen === 0)) {
    throw new VfioError('EINVAL', operation, { reason: 'data goes with a kind of data' })
  }
  const device = context.objects.getOf(devId, IommufdDevice, operation)
  const parent = parentOf(context, ptId, operation)
  const data: UserData = { task, type: dataType, address: dataUptr, length: dataLen }
  const hwpt =
    parent instanceof IoasObject ? makePaging(parent, device, flags, data) : makeNested(parent, device, flags, data)
  try {
    if ((flags & IOMMU_HWPT_FAULT_ID_VALID) !== 0) {
      hwpt.reportTo(context.objects.getOf(faultId, FaultQueue, operation))
    }
    context.objects.add(hwpt)
    command.respond({ outHwptId: hwpt.id })
  } catch (error) {
    context.objects.remove(hwpt)
    hwpt.destroy()
    throw error
  }
}

function makePaging(ioas: IoasObject, device: IommufdDevice, flags: number, data: UserData): HwptPaging {
  if (data.length > 0 && !device.hardware.takesData) {
    throw new VfioError('EOPNOTSUPP', 'IOMMU_HWPT_ALLOC', { reason: 'the hardware takes no data with a page table' })
  }
  const hwpt = new HwptPaging(ioas, device.hardware, flags, false)
  hwpt.enter()
  return hwpt
}

/** Makes a guest's page table on one that can be a parent, or on a virtual IOMMU. */
function makeNested(parent: IommufdObject, device: IommufdDevice, flags: number, data: UserData): HwptNested {
  const operation = 'IOMMU_HWPT_ALLOC'
  const refuse = (code: ErrnoName, reason: string) => new VfioError(code, operation, { reason })
  if (parent instanceof Viommu) {
    if (!compatible(parent.parent.hardware, device.hardware)) throw refuse('EINVAL', 'another IOMMU serves the device')
    checkNestedFlags(flags, data.length)
    return new HwptNested(parent.parent, parent, parent.driver.nest(data, parent.parent), flags)
  }
  if (!(parent instanceof HwptPaging)) throw refuse('EINVAL', `object ${parent.id} is of kind ${parent.kind}`)
  checkNestedFlags(flags, data.length)
  const { nesting } = device.hardware
  if (nesting === undefined) throw refuse('EOPNOTSUPP', 'the hardware nests no page tables')
  if (parent.auto || !parent.nestParent || !compatible(parent.hardware, device.hardware)) {
    throw refuse('EINVAL', 'the page table was not made to be a parent (IOMMU_HWPT_ALLOC_NEST_PARENT)')
  }
  return new HwptNested(parent, undefined, nesting.nest(data, parent), flags)
}

/** `IOMMU_GET_HW_INFO`. @throws {VfioError} EOPNOTSUPP, ENOENT, EFAULT */
export function getHwInfo(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_GET_HW_INFO'
  const command = takeCommand(argument, iommuHwInfo, operation, HW_INFO_LEAST)
  const { flags, __reserved, devId, dataLen, dataUptr, outDataType } = command.value
  requireZero((flags & ~IOMMU_HW_INFO_FLAG_INPUT_TYPE) | __reserved.reduce((bits, byte) => bits | byte, 0), operation)
  const { hardware } = context.objects.getOf(devId, IommufdDevice, operation)
  if (!hardware.isolates) throw new VfioError('EOPNOTSUPP', operation, { reason: 'no IOMMU serves the device' })
  const { type, data } = hardware.info
  const asked = (flags & IOMMU_HW_INFO_FLAG_INPUT_TYPE) === 0 ? IOMMU_HW_INFO_TYPE_DEFAULT : outDataType
  if (asked !== IOMMU_HW_INFO_TYPE_DEFAULT && asked !== type) {
    throw new VfioError('EOPNOTSUPP', operation, { reason: `the hardware is not of type 0x${asked.toString(16)}` })
  }
  writeUser(task, dataUptr, data.subarray(0, dataLen), operation)
  // What the caller has room for beyond it is cleared, piece by piece: the length is the caller's.
  for (let at = data.byteLength; at < dataLen; at += CLEARED.byteLength) {
    writeUser(task, dataUptr + BigInt(at), CLEARED.subarray(0, dataLen - at), operation)
  }
  command.respond({
    dataLen: data.byteLength,
    outDataType: type,
    outMaxPasidLog2: hardware.maxPasidLog2,
    outCapabilities: hardware.capabilities,
  })
}

const CLEARED = new Uint8Array(4096)

function writeUser(task: Task, address: bigint, bytes: Uint8Array, operation: string): void {
  if (bytes.byteLength > 0) status(task.mm.write(BigInt.asUintN(64, address), bytes), operation, { address })
}

/** `IOMMU_HWPT_SET_DIRTY_TRACKING`. @throws {VfioError} EOPNOTSUPP, ENOENT */
export function setDirtyTracking(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_HWPT_SET_DIRTY_TRACKING'
  const { flags, hwptId } = takeCommand(argument, iommuHwptSetDirtyTracking, operation).value
  requireZero(flags & ~IOMMU_HWPT_DIRTY_TRACKING_ENABLE, operation)
  const hwpt = context.objects.getOf(hwptId, HwptPaging, operation)
  const enable = (flags & IOMMU_HWPT_DIRTY_TRACKING_ENABLE) !== 0
  syscall(operation, () => hwpt.ioas.native.setDirtyTracking(hwpt.native, enable))
}

/** `IOMMU_HWPT_GET_DIRTY_BITMAP`. @throws {VfioError} EOPNOTSUPP, ENOENT, EOVERFLOW, EINVAL */
export function getDirtyBitmap(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_HWPT_GET_DIRTY_BITMAP'
  const { flags, __reserved, hwptId, iova, length, pageSize, data } = takeCommand(
    argument,
    iommuHwptGetDirtyBitmap,
    operation,
  ).value
  requireZero((flags & ~IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) | __reserved, operation)
  const hwpt = context.objects.getOf(hwptId, HwptPaging, operation)
  const clear = (flags & IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR) === 0
  const request = { iova, length, pageSize, clear }
  const target = { mm: task.mm, address: data }
  syscall(operation, () => hwpt.ioas.native.dirtyBitmapTo(hwpt.native, request, target), { address: iova })
}

function parentOf(context: IommufdContext, id: number, operation: string): IommufdObject {
  for (const object of context.objects) if (object.id === id) return object
  throw new VfioError('EINVAL', operation, { reason: `there is no object ${id}` })
}
