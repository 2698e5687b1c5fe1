/** Commands on virtual IOMMUs and on nested page tables. */
import type { IoctlArgument } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import {
  IOMMU_HW_QUEUE_TYPE_DEFAULT,
  IOMMU_VEVENTQ_TYPE_DEFAULT,
  IOMMU_VIOMMU_TYPE_DEFAULT,
} from '../uapi/constants.ts'
import {
  iommuHwptInvalidate,
  iommuHwQueueAlloc,
  iommuVdeviceAlloc,
  iommuVeventqAlloc,
  iommuViommuAlloc,
} from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import type { IommufdCaller } from './descriptor.ts'
import { IommufdDevice } from './device.ts'
import { giveFile } from './fault-queue-file.ts'
import { compatible } from './hardware.ts'
import { HwptNested } from './hwpt-nested.ts'
import { HwptPaging } from './hwpt.ts'
import type { Invalidated, RegisterPage, VirtualIommu } from './nesting.ts'
import type { IommufdObject } from './object.ts'
import type { UserArray } from './user-data.ts'
import { HwQueue, Vdevice, Veventq, VeventqFile, Viommu } from './viommu.ts'

/** The structures as they were at first; what came later may be missing. */
const VIOMMU_ALLOC_LEAST = 24
const VEVENTQ_ALLOC_LEAST = 28
const U64_MAX = 0xffff_ffff_ffff_ffffn
/** Bounds of what one command does. */
const MOST_ENTRIES = 1 << 19
const MOST_ENTRY_BYTES = 4096
const MOST_EVENTS = 1 << 19

/** `IOMMU_HWPT_INVALIDATE`: tells how many entries were handled, also where it refuses. @throws {VfioError} EOPNOTSUPP, EINVAL, ENOENT, EFAULT */
export function hwptInvalidate(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_HWPT_INVALIDATE'
  const command = takeCommand(argument, iommuHwptInvalidate, operation)
  let outcome: Invalidated = { done: 0 }
  try {
    outcome = invalidate(context, task, command.value, operation)
  } catch (error) {
    outcome = { done: 0, error }
  }
  command.respond({ entryNum: outcome.done })
  if (outcome.error !== undefined) throw outcome.error
}

function invalidate(
  context: IommufdContext,
  task: Task,
  value: {
    __reserved: number
    entryNum: number
    entryLen: number
    dataUptr: bigint
    dataType: number
    hwptId: number
  },
  operation: string,
): Invalidated {
  const { __reserved, entryNum, entryLen, dataUptr, dataType, hwptId } = value
  requireZero(__reserved, operation)
  if (entryNum > 0 && (dataUptr === 0n || entryLen === 0 || entryLen > MOST_ENTRY_BYTES || entryNum > MOST_ENTRIES)) {
    throw new VfioError('EINVAL', operation, { reason: 'there are entries, and no place or no sane size of them' })
  }
  const array: UserArray = { task, type: dataType, address: dataUptr, entryLength: entryLen, entries: entryNum }
  const object = context.objects.get(hwptId, operation)
  if (object instanceof HwptNested) return object.table.invalidate(array)
  if (object instanceof Viommu) {
    return object.driver.invalidate(array, (virtId) => object.devices.get(virtId)?.device)
  }
  throw new VfioError('EINVAL', operation, { reason: `object ${hwptId} (${object.kind}) caches nothing for its user` })
}

/** `IOMMU_VIOMMU_ALLOC`. @throws {VfioError} EOPNOTSUPP, ENOENT, EINVAL no parent, EFAULT */
export function viommuAlloc(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_VIOMMU_ALLOC'
  const command = takeCommand(argument, iommuViommuAlloc, operation, VIOMMU_ALLOC_LEAST)
  const { flags, type, devId, hwptId, dataLen, dataUptr } = command.value
  requireZero(flags, operation)
  requireType(type, IOMMU_VIOMMU_TYPE_DEFAULT, operation)
  const { hardware } = context.objects.getOf(devId, IommufdDevice, operation)
  const { nesting } = hardware
  if (nesting?.viommuType !== type) {
    throw new VfioError('EOPNOTSUPP', operation, { reason: 'the hardware has no such virtual IOMMUs' })
  }
  const parent = context.objects.getOf(hwptId, HwptPaging, operation)
  if (!parent.nestParent) {
    throw new VfioError('EINVAL', operation, { reason: 'the page table was not made to be a parent' })
  }
  const data = dataLen === 0 ? undefined : { task, type, address: dataUptr, length: dataLen }
  const driver = makeDriver(context, (mmap) => nesting.makeViommu(data, parent, mmap))
  const viommu = context.objects.add(new Viommu(context.registers, parent, driver))
  respondOrDestroy(context, viommu, () => command.respond({ outViommuId: viommu.id }))
}

/** Makes a virtual IOMMU; where that fails, its registers have no place in the file. */
function makeDriver(
  context: IommufdContext,
  make: (mmap: (page: RegisterPage) => bigint) => VirtualIommu,
): VirtualIommu {
  const pages: RegisterPage[] = []
  try {
    return make((page) => {
      pages.push(page)
      return context.registers.add(page)
    })
  } catch (error) {
    for (const page of pages) context.registers.remove(page)
    throw error
  }
}

/** `IOMMU_VDEVICE_ALLOC`. @throws {VfioError} ENOENT, EINVAL another IOMMU, EEXIST, EFAULT */
export function vdeviceAlloc(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_VDEVICE_ALLOC'
  const command = takeCommand(argument, iommuVdeviceAlloc, operation)
  const { viommuId, devId, virtId } = command.value
  const viommu = context.objects.getOf(viommuId, Viommu, operation)
  const device = context.objects.getOf(devId, IommufdDevice, operation)
  if (!compatible(viommu.parent.hardware, device.hardware)) {
    throw new VfioError('EINVAL', operation, { reason: 'another IOMMU serves the device' })
  }
  const vdevice = context.objects.add(new Vdevice(viommu, device, virtId))
  respondOrDestroy(context, vdevice, () => command.respond({ outVdeviceId: vdevice.id }))
}

/** `IOMMU_VEVENTQ_ALLOC`. @throws {VfioError} EOPNOTSUPP, EINVAL, ENOENT, EEXIST, EMFILE, EFAULT */
export function veventqAlloc(context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const operation = 'IOMMU_VEVENTQ_ALLOC'
  const command = takeCommand(argument, iommuVeventqAlloc, operation, VEVENTQ_ALLOC_LEAST)
  const { flags, __reserved, type, veventqDepth, viommuId } = command.value
  requireZero(flags | __reserved, operation)
  requireType(type, IOMMU_VEVENTQ_TYPE_DEFAULT, operation)
  if (veventqDepth === 0 || veventqDepth > MOST_EVENTS) {
    throw new VfioError('EINVAL', operation, { reason: `a queue has room for 1 to ${MOST_EVENTS} events` })
  }
  const viommu = context.objects.getOf(viommuId, Viommu, operation)
  if (type !== viommu.driver.eventType) {
    throw new VfioError('EOPNOTSUPP', operation, { reason: 'the virtual IOMMU has no such events' })
  }
  const queue = context.objects.add(new Veventq(viommu, type, veventqDepth))
  const undo = () => context.objects.destroy(queue.id)
  giveFile(caller, new VeventqFile(context, queue), undo, (fd) =>
    command.respond({ outVeventqId: queue.id, outVeventqFd: fd }),
  )
}

/** `IOMMU_HW_QUEUE_ALLOC`. @throws {VfioError} EOPNOTSUPP, EINVAL, EOVERFLOW, ENOENT, EEXIST, EFAULT, ENOMEM */
export function hwQueueAlloc(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_HW_QUEUE_ALLOC'
  const command = takeCommand(argument, iommuHwQueueAlloc, operation)
  const { flags, type, length, nestingParentIova, viommuId, index } = command.value
  requireZero(flags, operation)
  requireType(type, IOMMU_HW_QUEUE_TYPE_DEFAULT, operation)
  if (length === 0n) throw new VfioError('EINVAL', operation, { reason: 'the queue has no memory' })
  if (nestingParentIova > U64_MAX - (length - 1n)) {
    throw new VfioError('EOVERFLOW', operation, { address: nestingParentIova, reason: 'the range wraps around' })
  }
  const viommu = context.objects.getOf(viommuId, Viommu, operation)
  if (type !== viommu.driver.queueType) {
    throw new VfioError('EOPNOTSUPP', operation, { reason: 'the virtual IOMMU has no such queues' })
  }
  const queue = context.objects.add(new HwQueue(viommu, index, nestingParentIova, length))
  respondOrDestroy(context, queue, () => command.respond({ outHwQueueId: queue.id }))
}

function respondOrDestroy(context: IommufdContext, object: IommufdObject, respond: () => void): void {
  try {
    respond()
  } catch (error) {
    context.objects.destroy(object.id)
    throw error
  }
}

function requireType(type: number, none: number, operation: string): void {
  if (type === none) throw new VfioError('EOPNOTSUPP', operation, { reason: 'it is asked for no kind' })
}
