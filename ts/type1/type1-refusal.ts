/** Why type1 refuses, in words; looked for after the fact, so that mapping itself stays fast. */
import type { IommuInfo } from '../container/dma-mapper.ts'
import type { VfioErrorDetails } from '../errors.ts'
import type { ErrnoName } from '../uapi/errno.ts'
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_VADDR, VFIO_DMA_MAP_FLAG_WRITE } from '../uapi/constants.ts'

/** A refused mapping. */
export interface RefusedMap {
  flags: number
  vaddr: bigint
  iova: bigint
  size: bigint
}

/** Explains a refused `VFIO_IOMMU_MAP_DMA`. */
export function mapRefusal(code: ErrnoName, map: RefusedMap, info: () => IommuInfo): VfioErrorDetails {
  return { address: map.iova, ...why(code, map, info) }
}

/** A refused unmapping; `page` is the smallest page of the IOMMU. */
export interface RefusedUnmap {
  iova: bigint
  size: bigint
  page: bigint
}

/** Explains a refused `VFIO_IOMMU_UNMAP_DMA`. */
export function unmapRefusal(code: ErrnoName, { iova, size, page }: RefusedUnmap): VfioErrorDetails {
  switch (code) {
    case 'EINVAL':
      if (page > 0n && ((iova | size) & (page - 1n)) !== 0n)
        return { address: iova, reason: `address and length must be multiples of ${page}` }
      return {
        address: iova,
        reason: 'the range is empty, wraps around or cuts a mapping in two',
        remedy: 'unmap whole mappings',
      }
    case 'ENOENT':
      return { address: iova, reason: 'nothing is mapped there' }
    case 'EBUSY':
      return { address: iova, reason: 'a mediated device does not let go of its pages, or would be left without them' }
    default:
      return { address: iova }
  }
}

/** Explains a refused `VFIO_IOMMU_DIRTY_PAGES`. */
export function dirtyRefusal(code: ErrnoName): VfioErrorDetails {
  if (code === 'EACCES') return { reason: 'version 1 tracks nothing', remedy: 'choose VFIO_TYPE1v2_IOMMU' }
  if (code !== 'EINVAL') return {}
  return {
    reason: 'tracking is off, or the range cuts a mapping, or the page size is not the smallest of the IOMMU',
    remedy: 'start it with dirty.start(), and ask for whole mappings',
  }
}

function why(code: ErrnoName, map: RefusedMap, info: () => IommuInfo): VfioErrorDetails {
  switch (code) {
    case 'EINVAL':
      return invalid(map, info())
    case 'EEXIST':
      return { reason: 'part of the range is mapped already', remedy: 'unmap it first' }
    case 'ENOSPC':
      return { reason: 'the container has as many mappings as it may', remedy: 'unmap some, or raise dma_entry_limit' }
    case 'ENOMEM':
      return {
        reason: `${map.size / 4096n} more locked pages are over the process's limit`,
        remedy: 'raise its memlock limit or give it CAP_IPC_LOCK',
      }
    case 'EFAULT':
      return { reason: 'the memory is gone or may not be written' }
    case 'EOVERFLOW':
      return { reason: 'the range wraps around' }
    default:
      return {}
  }
}

function invalid({ flags, vaddr, iova, size }: RefusedMap, info: IommuInfo): VfioErrorDetails {
  const access = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE
  if ((flags & VFIO_DMA_MAP_FLAG_VADDR) !== 0) return { reason: 'no mapping of that range lacks its address' }
  if ((flags & access) === 0)
    return { reason: 'devices may neither read nor write', remedy: 'give read: true or write: true' }
  const page = info.pageSizes & -info.pageSizes
  if (size === 0n) return { reason: 'the length is 0' }
  if (page > 0n && ((iova | size | vaddr) & (page - 1n)) !== 0n) {
    return { reason: `address, offset and length must be multiples of ${page}` }
  }
  const last = iova + size - 1n
  if (last > 0xffff_ffff_ffff_ffffn) return { reason: 'the range wraps around' }
  const { iovaRanges } = info
  if (iovaRanges !== undefined && !iovaRanges.some((range) => range.start <= iova && last <= range.last)) {
    const text = iovaRanges.map((range) => `0x${range.start.toString(16)}-0x${range.last.toString(16)}`).join(', ')
    return { reason: 'the IOMMU cannot map that range', remedy: `map within ${text}` }
  }
  return {}
}
