/** The ioctls of the sPAPR IOMMU as bytes: preconditions, structures and `argsz` in the kernel's order, then the values. */
import type { IoctlArgument } from '../device/ops.ts'
import { endOf, readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { VFIO_EEH_PE_INJECT_ERR, VFIO_IOMMU_SPAPR_INFO_DDW } from '../uapi/constants.ts'
import type { Codec, Decoded, Fields } from '../uapi/codec.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import {
  vfioEehPeOp,
  vfioIommuSpaprRegisterMemory,
  vfioIommuSpaprTceCreate,
  vfioIommuSpaprTceInfo,
  vfioIommuSpaprTceRemove,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
} from '../uapi/structs.ts'
import type { SpaprContainer } from './spapr-container.ts'

const INFO_MIN = endOf(vfioIommuSpaprTceInfo, 'dma32_window_size')
const EEH_MIN = endOf(vfioEehPeOp, 'op')

type Handler = (container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace) => number

/** Requests of both versions. */
const COMMON: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [IOCTL.VFIO_IOMMU_SPAPR_TCE_GET_INFO, getInfo],
  [IOCTL.VFIO_IOMMU_MAP_DMA, mapDma],
  [IOCTL.VFIO_IOMMU_UNMAP_DMA, unmapDma],
  [IOCTL.VFIO_EEH_PE_OP, eehPeOp],
])

const VERSION1: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [IOCTL.VFIO_IOMMU_ENABLE, enable],
  [IOCTL.VFIO_IOMMU_DISABLE, disable],
])

const VERSION2: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [IOCTL.VFIO_IOMMU_SPAPR_REGISTER_MEMORY, registerMemory],
  [IOCTL.VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, unregisterMemory],
  [IOCTL.VFIO_IOMMU_SPAPR_TCE_CREATE, createWindow],
  [IOCTL.VFIO_IOMMU_SPAPR_TCE_REMOVE, removeWindow],
])

/** Answers a request on the container. @throws {VfioError} EPERM another process uses it, ENOTTY, and what the request says */
export function spaprIoctl(
  container: SpaprContainer,
  request: number,
  argument: IoctlArgument,
  mm: NativeAddressSpace,
): number {
  container.checkProcess(mm, 'ioctl')
  const own = container.version2 ? VERSION2 : VERSION1
  const handler = COMMON.get(request) ?? own.get(request)
  if (handler) return handler(container, argument, mm)
  const version = container.version2 ? 2 : 1
  throw new VfioError('ENOTTY', 'ioctl', {
    reason: `version ${version} of the sPAPR IOMMU knows no request 0x${request.toString(16)}`,
  })
}

/** Reads a structure whose flags must be 0. @throws {VfioError} EFAULT, EINVAL */
function readPlain<F extends Fields>(
  argument: IoctlArgument,
  codec: Codec<F>,
  operation: string,
  minsz: number = codec.size,
): Decoded<F> {
  const value = readStruct(argument, codec, minsz, operation)
  if ((value as { flags?: unknown }).flags !== 0) {
    throw new VfioError('EINVAL', operation, { reason: 'no flag is known' })
  }
  return value
}

function getInfo(container: SpaprContainer, argument: IoctlArgument): number {
  const { argsz } = readStruct(argument, vfioIommuSpaprTceInfo, INFO_MIN, 'VFIO_IOMMU_SPAPR_TCE_GET_INFO')
  const { dma32Start, dma32Size, dynamic } = container.info()
  const answer = {
    argsz,
    flags: dynamic === undefined ? 0 : VFIO_IOMMU_SPAPR_INFO_DDW,
    dma32WindowStart: Number(dma32Start),
    dma32WindowSize: Number(BigInt.asUintN(32, dma32Size)),
    ddwPgsizes: dynamic?.pageSizes ?? 0n,
    ddwMaxDynamicWindowsSupported: dynamic?.maxWindows ?? 0,
    ddwLevels: dynamic?.levels ?? 0,
  }
  const { size } = vfioIommuSpaprTceInfo
  writeStruct(argument, vfioIommuSpaprTceInfo, answer, argsz >= size ? size : INFO_MIN)
  return 0
}

function mapDma(container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_MAP_DMA'
  container.requireEnabled(operation)
  const map = readStruct(argument, vfioIommuType1DmaMap, vfioIommuType1DmaMap.size, operation)
  return container.map(mm, map.flags, map.vaddr, map.iova, map.size)
}

function unmapDma(container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_UNMAP_DMA'
  container.requireEnabled(operation)
  const unmap = readStruct(argument, vfioIommuType1DmaUnmap, vfioIommuType1DmaUnmap.size, operation)
  return container.unmap(mm, unmap.flags, unmap.iova, unmap.size)
}

function enable(container: SpaprContainer, _argument: IoctlArgument, mm: NativeAddressSpace): number {
  container.enable(mm)
  return 0
}

function disable(container: SpaprContainer, _argument: IoctlArgument, mm: NativeAddressSpace): number {
  container.disable(mm)
  return 0
}

function registerMemory(container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_SPAPR_REGISTER_MEMORY'
  container.bind(mm, operation)
  const { vaddr, size } = readPlain(argument, vfioIommuSpaprRegisterMemory, operation)
  return container.registerMemory(mm, vaddr, size)
}

function unregisterMemory(container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY'
  container.requireBound(operation)
  const { vaddr, size } = readPlain(argument, vfioIommuSpaprRegisterMemory, operation)
  container.unregisterMemory(mm, vaddr, size)
  return 0
}

function createWindow(container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_SPAPR_TCE_CREATE'
  container.bind(mm, operation)
  const create = readPlain(argument, vfioIommuSpaprTceCreate, operation)
  const { pageShift, windowSize, levels } = create
  const startAddr = container.createWindow(mm, { pageShift, size: windowSize, levels })
  writeStruct(argument, vfioIommuSpaprTceCreate, { ...create, startAddr })
  return 0
}

function removeWindow(container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_SPAPR_TCE_REMOVE'
  container.bind(mm, operation)
  const { startAddr } = readPlain(argument, vfioIommuSpaprTceRemove, operation)
  container.removeWindow(mm, startAddr)
  return 0
}

function eehPeOp(container: SpaprContainer, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_EEH_PE_OP'
  container.requireEeh()
  const { argsz, op } = readPlain(argument, vfioEehPeOp, operation, EEH_MIN)
  if (op !== VFIO_EEH_PE_INJECT_ERR) return container.eeh(mm, op)
  return container.eeh(mm, op, () => {
    if (argsz < vfioEehPeOp.size) {
      throw new VfioError('EINVAL', operation, { reason: `argsz is ${argsz}, no room for an error` })
    }
    const { errType, errFunc, errAddr, errMask } = vfioEehPeOp.decode(argument.read(vfioEehPeOp.size))
    return { type: errType, func: errFunc, addr: errAddr, mask: errMask }
  })
}
