/** The ioctls of type1 as bytes: structures and `argsz` in, values to {@link Type1Mapper}, answers out. */
import { writeInfoChain } from '../device/info-chain.ts'
import type { InfoCapability, IoctlArgument } from '../device/ops.ts'
import { endOf, readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import {
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
} from '../uapi/constants.ts'
import type { IommuInfo } from '../container/dma-mapper.ts'
import {
  vfioBitmap,
  vfioInfoCapHeader,
  vfioIommuType1DirtyBitmap,
  vfioIommuType1DirtyBitmapGet,
  vfioIommuType1DmaMap,
  vfioIommuType1DmaUnmap,
  vfioIommuType1Info,
  vfioIommuType1InfoCapIovaRange,
  vfioIommuType1InfoCapMigration,
  vfioIommuType1InfoDmaAvail,
  vfioIovaRange,
} from '../uapi/structs.ts'
import type { BitmapPlace, Type1Mapper } from './type1-mapper.ts'

const INFO_MIN = endOf(vfioIommuType1Info, 'iova_pgsizes')
const UNMAP_FLAGS = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | VFIO_DMA_UNMAP_FLAG_ALL | VFIO_DMA_UNMAP_FLAG_VADDR

/** `VFIO_IOMMU_GET_INFO`. @throws {VfioError} EFAULT, EINVAL `argsz` */
export function getInfo(mapper: Type1Mapper, argument: IoctlArgument): number {
  const { argsz } = readStruct(argument, vfioIommuType1Info, INFO_MIN, 'VFIO_IOMMU_GET_INFO')
  const info = mapper.info()
  const chain = writeInfoChain(argument, infoCapabilities(info), argsz, vfioIommuType1Info.size)
  const answer = {
    argsz: chain?.argsz ?? argsz,
    flags: VFIO_IOMMU_INFO_PGSIZES | (chain === undefined ? 0 : VFIO_IOMMU_INFO_CAPS),
    iovaPgsizes: info.pageSizes,
    capOffset: chain?.capOffset ?? 0,
  }
  writeStruct(argument, vfioIommuType1Info, answer, Math.min(argsz, vfioIommuType1Info.size))
  return 0
}

/** `VFIO_IOMMU_MAP_DMA`. @throws {VfioError} EFAULT, EINVAL `argsz`, and what mapping refuses with */
export function mapDma(mapper: Type1Mapper, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const map = readStruct(argument, vfioIommuType1DmaMap, vfioIommuType1DmaMap.size, 'VFIO_IOMMU_MAP_DMA')
  mapper.map(mm, map.flags, map.vaddr, map.iova, map.size)
  return 0
}

/** `VFIO_IOMMU_UNMAP_DMA`. @throws {VfioError} EFAULT, EINVAL `argsz` or flags, and what unmapping refuses with */
export function unmapDma(mapper: Type1Mapper, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_UNMAP_DMA'
  const minsz = vfioIommuType1DmaUnmap.size
  const unmap = readStruct(argument, vfioIommuType1DmaUnmap, minsz, operation)
  let bitmap: BitmapPlace | undefined
  // Senseless flags come before an unreadable bitmap.
  const sensible = (unmap.flags & ~UNMAP_FLAGS) === 0 && (unmap.flags & UNMAP_FLAGS & (unmap.flags - 1)) === 0
  if (sensible && (unmap.flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) !== 0) {
    if (unmap.argsz < minsz + vfioBitmap.size) {
      throw new VfioError('EINVAL', operation, { reason: `argsz is ${unmap.argsz}, no room for a bitmap` })
    }
    const { pgsize, size, data } = vfioBitmap.decode(argument.read(vfioBitmap.size, minsz))
    bitmap = { pageSize: pgsize, size, target: { mm, address: data } }
  }
  const size = mapper.unmap(mm, unmap.flags, unmap.iova, unmap.size, bitmap)
  writeStruct(argument, vfioIommuType1DmaUnmap, { ...unmap, size })
  return 0
}

/** `VFIO_IOMMU_DIRTY_PAGES`. @throws {VfioError} EACCES version 1, EFAULT, EINVAL `argsz` or flags, and what the query refuses with */
export function dirtyPages(mapper: Type1Mapper, argument: IoctlArgument, mm: NativeAddressSpace): number {
  const operation = 'VFIO_IOMMU_DIRTY_PAGES'
  if (!mapper.version2) throw new VfioError('EACCES', operation, { reason: 'type1 version 1 tracks no dirty pages' })
  const minsz = vfioIommuType1DirtyBitmap.size
  const { argsz, flags } = readStruct(argument, vfioIommuType1DirtyBitmap, minsz, operation)
  switch (flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
      mapper.dirtyStart()
      return 0
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
      mapper.dirtyStop()
      return 0
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP: {
      if (argsz - minsz < vfioIommuType1DirtyBitmapGet.size) {
        throw new VfioError('EINVAL', operation, { reason: `argsz is ${argsz}, no room for a range` })
      }
      const range = vfioIommuType1DirtyBitmapGet.decode(argument.read(vfioIommuType1DirtyBitmapGet.size, minsz))
      mapper.dirtyBitmapAt(range.iova, range.size, {
        pageSize: range.pgsize,
        size: range.bitmapSize,
        target: { mm, address: range.bitmapData },
      })
      return 0
    }
    default:
      throw new VfioError('EINVAL', operation, { reason: 'exactly one flag is asked for' })
  }
}

/** The capabilities behind the info structure, in the kernel's order. */
function infoCapabilities(info: IommuInfo): InfoCapability[] {
  const capabilities: InfoCapability[] = []
  if (info.dirtyTracking !== undefined) {
    const { pageSizes, maxBitmapSize } = info.dirtyTracking
    const bytes = vfioIommuType1InfoCapMigration.bytes({
      flags: 0,
      pgsizeBitmap: pageSizes,
      maxDirtyBitmapSize: maxBitmapSize,
    })
    capabilities.push({ id: VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, version: 1, payload: behindHeader(bytes) })
  }
  const avail = vfioIommuType1InfoDmaAvail.bytes({ avail: info.mappingsAvailable })
  capabilities.push({ id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1, payload: behindHeader(avail) })
  if (info.iovaRanges !== undefined) {
    const head = vfioIommuType1InfoCapIovaRange
    const bytes = new Uint8Array(head.size + info.iovaRanges.length * vfioIovaRange.size)
    head.encode({ nrIovas: info.iovaRanges.length }, bytes)
    info.iovaRanges.forEach(({ start, last }, i) =>
      vfioIovaRange.encode({ start, end: last }, bytes, head.size + i * vfioIovaRange.size),
    )
    capabilities.push({ id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1, payload: behindHeader(bytes) })
  }
  return capabilities
}

function behindHeader(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(vfioInfoCapHeader.size)
}
