/** Mapping and unmapping through the windows of a container, as the typed container does it. */
import type { DmaMapper, IommuInfo } from '../container/dma-mapper.ts'
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace, NativeFaultLog } from '../native/addon.ts'
import { VFIO_DMA_UNMAP_FLAG_ALL } from '../uapi/constants.ts'
import type { SpaprContainer } from './spapr-container.ts'
import { contains, type Window } from './window.ts'

const MAP = 'VFIO_IOMMU_MAP_DMA'
const UNMAP = 'VFIO_IOMMU_UNMAP_DMA'

/** The mappings of one container. Unmapping tells no sizes: entries are all that there is. */
export class SpaprMapper implements DmaMapper {
  readonly faults: NativeFaultLog
  readonly #container: SpaprContainer

  constructor(container: SpaprContainer, faults: NativeFaultLog) {
    this.#container = container
    this.faults = faults
  }

  map(mm: NativeAddressSpace, flags: number, vaddr: bigint, iova: bigint, size: bigint): void {
    if (this.#container.map(mm, flags, vaddr, iova, size) !== 0) throw unaligned(MAP, iova)
  }

  unmap(mm: NativeAddressSpace, flags: number, iova: bigint, size: bigint): bigint {
    const all = flags === VFIO_DMA_UNMAP_FLAG_ALL
    const done = this.#container.unmap(mm, all ? 0 : flags, iova, all ? 0n : size)
    if (done !== 0) throw unaligned(UNMAP, iova)
    if (all) this.#container.windows.clear()
    return size
  }

  mapBatch(mm: NativeAddressSpace, flags: number, triples: BigUint64Array): void {
    const failure = new Int32Array(1)
    let done = 0
    while (done < triples.length) {
      const [vaddr = 0n, iova = 0n, size = 0n] = triples.subarray(done, done + 3)
      // The first of a run says all that can be wrong with the container; the rest is one native call.
      this.map(mm, flags, vaddr, iova, size)
      const window = this.#container.windows.at(iova, MAP)
      const run = runOf(window, triples, done, 3, 1)
      const rest = triples.subarray(done + 3, run)
      const mapped = window.table.mapBatch(rest, flags, failure)
      if (mapped < rest.length / 3) {
        this.#undo(mm, triples.subarray(0, done + 3 + mapped * 3))
        const at = triples[done + 3 + mapped * 3 + 1] ?? 0n
        throw VfioError.fromStatus(failure[0] ?? 0, MAP, { address: at })
      }
      done = run
    }
  }

  unmapBatch(mm: NativeAddressSpace, flags: number, pairs: BigUint64Array): void {
    const failure = new Int32Array(1)
    let done = 0
    while (done < pairs.length) {
      const [iova = 0n, size = 0n] = pairs.subarray(done, done + 2)
      this.unmap(mm, flags, iova, size)
      const window = this.#container.windows.at(iova, UNMAP)
      const run = runOf(window, pairs, done, 2, 0)
      const rest = pairs.subarray(done + 2, run)
      const unmapped = window.table.unmapBatch(rest, failure)
      if (unmapped < rest.length / 2) {
        throw VfioError.fromStatus(failure[0] ?? 0, UNMAP, { address: rest[unmapped * 2] ?? 0n })
      }
      done = run
    }
  }

  unmapDirty(): bigint {
    throw noTracking()
  }

  info(): IommuInfo {
    const { dma32Start, dma32Size, dynamic } = this.#container.info()
    const windows = this.#container.windows.all.map(({ start, entries, pageShift }) => ({
      start,
      last: start + (entries << BigInt(pageShift)) - 1n,
    }))
    const potential = [{ start: dma32Start, last: dma32Start + dma32Size - 1n }]
    return {
      pageSizes: dynamic?.pageSizes ?? 4096n,
      iovaRanges: this.#container.windows.defaultPending ? potential : windows,
      mappingsAvailable: 0xffff_ffff,
    }
  }

  dirtyStart(): void {
    throw noTracking()
  }

  dirtyStop(): void {
    throw noTracking()
  }

  dirtyBitmap(): void {
    throw noTracking()
  }

  #undo(mm: NativeAddressSpace, triples: BigUint64Array): void {
    for (let i = 0; i < triples.length; i += 3) this.unmap(mm, 0, triples[i + 1] ?? 0n, triples[i + 2] ?? 0n)
  }
}

/** Where the run of records that begin in a window ends; `at` is the place of the address in a record of `width`. */
function runOf(window: Window, records: BigUint64Array, from: number, width: number, at: number): number {
  let end = from + width
  while (end < records.length && contains(window, records[end + at] ?? 0n)) end += width
  return end
}

function unaligned(operation: string, iova: bigint): VfioError {
  return new VfioError('EINVAL', operation, {
    address: iova,
    reason: 'the address must be a multiple of the page of its window, and the range must end within it',
  })
}

function noTracking(): VfioError {
  return new VfioError('ENOTTY', 'VFIO_IOMMU_DIRTY_PAGES', { reason: 'an sPAPR IOMMU tracks no dirty pages' })
}
