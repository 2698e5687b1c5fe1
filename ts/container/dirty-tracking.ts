/** Dirty tracking of a container: which pages devices may have written. */
import { record, u64, type U64 } from '../shape.ts'
import type { DmaMapper } from './dma-mapper.ts'

/** A range to ask about. */
export interface DirtyQuery {
  iova: U64
  /** Length in bytes. */
  length: U64
  /** Bytes per bit: the smallest page size of the IOMMU; default 4096. */
  pageSize?: U64
}

/** Tracks writes of devices (`VFIO_IOMMU_DIRTY_PAGES`). Got from `container.dirty`. */
export class DirtyTracking {
  readonly #mapper: () => DmaMapper

  /**
   * Made by the container.
   * @internal
   */
  constructor(mapper: () => DmaMapper) {
    this.#mapper = mapper
  }

  /** Starts tracking; starting again changes nothing. @throws {VfioError} EINVAL no IOMMU, EACCES version 1, ENOMEM */
  start(): void {
    this.#mapper().dirtyStart()
  }

  /** Stops tracking; stopping again changes nothing. @throws {VfioError} EINVAL no IOMMU, EACCES version 1 */
  stop(): void {
    this.#mapper().dirtyStop()
  }

  /**
   * Tells which pages of a range were written since the last time, and forgets it.
   *
   * Bit n of the answer (bit n % 8 of byte n / 8) stands for the nth page. The range may cover holes and must not cut a mapping.
   * @throws {VfioError} EINVAL tracking is off, a range or page size that does not fit, EACCES version 1
   */
  bitmap(query: DirtyQuery): Uint8Array {
    const iova = u64(record(query, 'query').iova, 'iova')
    const size = u64(query.length, 'length')
    const pageSize = u64(query.pageSize ?? 4096n, 'pageSize')
    const bitmap = dirtyBitmap(size, pageSize)
    this.#mapper().dirtyBitmap(iova, size, pageSize, bitmap)
    return bitmap
  }
}

const MAX_BITMAP = 1n << 28n

/** Makes room for one bit a page, in whole 64-bit words; a senseless query gets the least room and is refused by the IOMMU. */
export function dirtyBitmap(size: bigint, pageSize: bigint): Uint8Array {
  const pages = pageSize === 0n ? 0n : (size + pageSize - 1n) / pageSize
  const bytes = ((pages + 63n) / 64n) * 8n
  return new Uint8Array(Number(bytes > MAX_BITMAP ? 8n : bytes || 8n))
}
