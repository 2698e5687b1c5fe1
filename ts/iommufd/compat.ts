/** Requests of a container, answered by an iommufd: the address space in a container's place does the work. */
import type { IoctlArgument } from '../device/ops.ts'
import { endOf, readStruct, writeStruct } from '../device/struct-argument.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { syscall } from '../native/syscall.ts'
import {
  VFIO_API_VERSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_NOIOMMU_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UNMAP_ALL,
} from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import {
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
  vfioIommuType1Info,
  vfioIommuType1InfoCapIovaRange,
  vfioIommuType1InfoDmaAvail,
  vfioIovaRange,
} from '../uapi/structs.ts'
import type { IommufdContext } from './context.ts'

const ACCESS = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE
const NO_LIMIT = 0xffff_ffff

/** Answers a request that iommufd itself does not know. @throws {VfioError} ENOTTY, and what the request refuses with */
export function compatIoctl(context: IommufdContext, request: number, argument: IoctlArgument, task: Task): number {
  switch (request) {
    case IOCTL.VFIO_GET_API_VERSION:
      return VFIO_API_VERSION
    case IOCTL.VFIO_CHECK_EXTENSION:
      return checkExtension(context, argument.value)
    case IOCTL.VFIO_SET_IOMMU:
      setIommu(context, argument.value)
      return 0
    case IOCTL.VFIO_IOMMU_GET_INFO:
      getInfo(context, argument)
      return 0
    case IOCTL.VFIO_IOMMU_MAP_DMA:
      mapDma(context, argument, task)
      return 0
    case IOCTL.VFIO_IOMMU_UNMAP_DMA:
      unmapDma(context, argument)
      return 0
    default:
      throw new VfioError('ENOTTY', 'ioctl', { reason: `an iommufd knows no request 0x${request.toString(16)}` })
  }
}

function checkExtension(context: IommufdContext, extension: bigint): number {
  switch (Number(extension)) {
    case VFIO_TYPE1_IOMMU:
    case VFIO_TYPE1v2_IOMMU:
    case VFIO_UNMAP_ALL:
    case VFIO_NOIOMMU_IOMMU:
      return 1
    case VFIO_DMA_CC_IOMMU: {
      const { hwpts } = context.requireCompat('VFIO_CHECK_EXTENSION')
      return [...hwpts].every((hwpt) => hwpt.hardware.cacheCoherency) ? 1 : 0
    }
    default:
      return 0
  }
}

function setIommu(context: IommufdContext, model: bigint): void {
  const operation = 'VFIO_SET_IOMMU'
  const wanted = Number(model)
  const known = context.noIommu ? wanted === VFIO_NOIOMMU_IOMMU : isType1(wanted)
  if (!known) throw new VfioError('EINVAL', operation, { reason: `an iommufd is no IOMMU of model ${model}` })
  if (context.noIommu) return
  const { native } = context.requireCompat(operation)
  // Version 1 cuts mappings, which takes pages that are small.
  if (wanted === VFIO_TYPE1_IOMMU) syscall(operation, () => native.setLargePages(false))
}

function isType1(model: number): boolean {
  return model === VFIO_TYPE1_IOMMU || model === VFIO_TYPE1v2_IOMMU
}

function mapDma(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'VFIO_IOMMU_MAP_DMA'
  const map = readStruct(argument, vfioIommuType1DmaMap, vfioIommuType1DmaMap.size, operation)
  if ((map.flags & ~ACCESS) !== 0) throw new VfioError('EINVAL', operation, { reason: 'unknown flags' })
  const { native } = context.requireCompat(operation)
  const mapping = {
    mm: task.mm,
    chargeProcess: context.chargeProcess,
    read: (map.flags & VFIO_DMA_MAP_FLAG_READ) !== 0,
    write: (map.flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0,
    length: map.size,
    iova: map.iova,
  }
  syscall(operation, () => native.map(mapping, map.vaddr), { address: map.iova })
}

function unmapDma(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'VFIO_IOMMU_UNMAP_DMA'
  const unmap = readStruct(argument, vfioIommuType1DmaUnmap, vfioIommuType1DmaUnmap.size, operation)
  const { flags, iova, size } = unmap
  if ((flags & ~VFIO_DMA_UNMAP_FLAG_ALL) !== 0) throw new VfioError('EINVAL', operation, { reason: 'unknown flags' })
  const { native } = context.requireCompat(operation)
  const all = (flags & VFIO_DMA_UNMAP_FLAG_ALL) !== 0
  if (all && (iova !== 0n || size !== 0n)) {
    throw new VfioError('EINVAL', operation, { reason: 'all is asked for, and a range' })
  }
  if (!all) syscall(operation, () => native.cut(iova, size), { address: iova })
  const { bytes, status } = all ? native.unmapAll() : native.unmap(iova, size)
  writeStruct(argument, vfioIommuType1DmaUnmap, { ...unmap, size: bytes })
  if (status < 0) throw VfioError.fromStatus(status, operation, { address: iova })
}

function getInfo(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'VFIO_IOMMU_GET_INFO'
  const least = endOf(vfioIommuType1Info, 'iova_pgsizes')
  const { argsz } = readStruct(argument, vfioIommuType1Info, least, operation)
  const { native } = context.requireCompat(operation)
  const answer = {
    flags: VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS,
    iovaPgsizes: native.pgsizes(),
    capOffset: 0,
  }
  // Each capability is written if there is room for it; the chain counts only when there is room for all.
  let total = vfioIommuType1Info.size
  let before: number | undefined
  for (const capability of [availCapability(), rangesCapability(native.usable())]) {
    if (argsz >= total + capability.byteLength) argument.write(capability, total)
    if (before !== undefined && argsz >= total) argument.write(u32Bytes(total), before + NEXT)
    before = total
    total += Math.ceil(capability.byteLength / 8) * 8
  }
  if (argsz >= total) answer.capOffset = vfioIommuType1Info.size
  writeStruct(argument, vfioIommuType1Info, { ...answer, argsz: total }, Math.min(argsz, vfioIommuType1Info.size))
}

/** Offset of `next` in the header of a capability. */
const NEXT = 4

function availCapability(): Uint8Array {
  return vfioIommuType1InfoDmaAvail.bytes({
    headerId: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    headerVersion: 1,
    avail: NO_LIMIT,
  })
}

function rangesCapability(ranges: readonly { start: bigint; last: bigint }[]): Uint8Array {
  const head = vfioIommuType1InfoCapIovaRange
  const bytes = new Uint8Array(head.size + ranges.length * vfioIovaRange.size)
  head.encode({ headerId: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, headerVersion: 1, nrIovas: ranges.length }, bytes)
  ranges.forEach(({ start, last }, i) =>
    vfioIovaRange.encode({ start, end: last }, bytes, head.size + i * vfioIovaRange.size),
  )
  return bytes
}

function u32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  return bytes
}
