/** What the typed container asks of an IOMMU driver: the meaning of its ioctls without their bytes. */
import type { NativeAddressSpace, NativeFaultLog } from '../native/addon.ts'

/** A range of DMA addresses, both ends inclusive. */
export interface IovaRange {
  start: bigint
  last: bigint
}

/** What `VFIO_IOMMU_GET_INFO` tells. */
export interface IommuInfo {
  /** Bitmap of the page sizes that the IOMMU can use. */
  pageSizes: bigint
  /** Ranges that can be mapped; absent where nothing restricts them. */
  iovaRanges?: readonly IovaRange[]
  /** How many mappings may still be made. */
  mappingsAvailable: number
  /** Dirty tracking, where it is there: bitmap of page sizes, and the largest bitmap in bytes. */
  dirtyTracking?: { pageSizes: bigint; maxBitmapSize: bigint }
}

/** Mapping and unmapping. Flags are `VFIO_DMA_MAP_FLAG_*` and `VFIO_DMA_UNMAP_FLAG_*`; sizes are in bytes. */
export interface DmaMapper {
  /** @throws {VfioError} EINVAL, EEXIST, ENOSPC, ENOMEM, EFAULT, EPERM */
  map(mm: NativeAddressSpace, flags: number, vaddr: bigint, iova: bigint, size: bigint): void
  /** Returns the bytes unmapped. @throws {VfioError} EINVAL, ENOENT, EBUSY */
  unmap(mm: NativeAddressSpace, flags: number, iova: bigint, size: bigint): bigint
  /** Maps triples of vaddr, iova, size: all of them or none. @throws {VfioError} as `map`, with the DMA address refused */
  mapBatch(mm: NativeAddressSpace, flags: number, triples: BigUint64Array): void
  /** Unmaps pairs of iova, size, up to the first refusal; puts bytes unmapped in the place of size. @throws {VfioError} as `unmap` */
  unmapBatch(mm: NativeAddressSpace, flags: number, pairs: BigUint64Array): void
  /** Unmaps and tells which pages were dirty. @throws {VfioError} EINVAL, ENOENT, EBUSY */
  unmapDirty(mm: NativeAddressSpace, iova: bigint, size: bigint, pageSize: bigint, bitmap: Uint8Array): bigint
  /** A number by which another worker maps as well, on behalf of `mm`; absent: this IOMMU is of one thread. */
  share?(mm: NativeAddressSpace): bigint
  info(): IommuInfo
  /** @throws {VfioError} EACCES version 1 */
  dirtyStart(): void
  /** @throws {VfioError} EACCES version 1 */
  dirtyStop(): void
  /** Reports and clears. @throws {VfioError} EINVAL, EACCES */
  dirtyBitmap(iova: bigint, size: bigint, pageSize: bigint, bitmap: Uint8Array): void
  /** The log of refused DMA. */
  readonly faults: NativeFaultLog
}
