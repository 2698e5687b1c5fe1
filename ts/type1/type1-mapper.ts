/** Mapping and unmapping through type1, by values: what the typed container and the ioctls both call. */
import type { DmaMapper, IommuInfo } from '../container/dma-mapper.ts'
import { isErrno, VfioError, type VfioErrorDetails } from '../errors.ts'
import type { NativeAddressSpace, NativeBitmapTarget, NativeFaultLog, NativeType1 } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import { VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, VFIO_TYPE1v2_IOMMU } from '../uapi/constants.ts'
import type { ErrnoName } from '../uapi/errno.ts'
import { dirtyRefusal, mapRefusal, unmapRefusal } from './type1-refusal.ts'

/** A dirty bitmap that a caller provides: page size a bit stands for, size in bytes, and where it is. */
export interface BitmapPlace {
  pageSize: bigint
  size: bigint
  target: NativeBitmapTarget
}

const MAP = 'VFIO_IOMMU_MAP_DMA'
const UNMAP = 'VFIO_IOMMU_UNMAP_DMA'
const DIRTY = 'VFIO_IOMMU_DIRTY_PAGES'

/** The mappings of one container. */
export class Type1Mapper implements DmaMapper {
  readonly version2: boolean
  readonly #native: NativeType1
  #faults: NativeFaultLog | undefined

  constructor(model: number, native: NativeType1) {
    this.version2 = model === VFIO_TYPE1v2_IOMMU
    this.#native = native
  }

  map(mm: NativeAddressSpace, flags: number, vaddr: bigint, iova: bigint, size: bigint): void {
    const done = this.#native.mapDma(mm, flags, vaddr, iova, size)
    if (done < 0) throw this.#mapError(done, flags, vaddr, iova, size)
  }

  unmap(mm: NativeAddressSpace, flags: number, iova: bigint, size: bigint, bitmap?: BitmapPlace): bigint {
    return explained(
      UNMAP,
      () => this.#native.unmapDma(mm, flags, iova, size, bitmap),
      (code) => this.#whyNotUnmapped(code, iova, size),
    )
  }

  mapBatch(mm: NativeAddressSpace, flags: number, triples: BigUint64Array): void {
    const failure = new Int32Array(1)
    const done = this.#native.mapDmaBatch(mm, flags, triples, failure)
    if (done < 0) throw VfioError.fromStatus(done, MAP)
    const at = done * 3
    if (at >= triples.length) return
    const made = new BigUint64Array(done * 2)
    for (let i = 0; i < done; i++) {
      made[i * 2] = triples[i * 3 + 1] ?? 0n
      made[i * 2 + 1] = triples[i * 3 + 2] ?? 0n
    }
    this.#native.unmapDmaBatch(mm, 0, made)
    throw this.#mapError(failure[0] ?? 0, flags, triples[at] ?? 0n, triples[at + 1] ?? 0n, triples[at + 2] ?? 0n)
  }

  unmapBatch(mm: NativeAddressSpace, flags: number, pairs: BigUint64Array): void {
    const failure = new Int32Array(1)
    const done = this.#native.unmapDmaBatch(mm, flags, pairs, failure)
    if (done < 0) throw VfioError.fromStatus(done, UNMAP)
    if (done * 2 >= pairs.length) return
    const { code } = VfioError.fromStatus(failure[0] ?? 0, UNMAP)
    throw new VfioError(code, UNMAP, this.#whyNotUnmapped(code, pairs[done * 2] ?? 0n, pairs[done * 2 + 1] ?? 0n))
  }

  unmapDirty(mm: NativeAddressSpace, iova: bigint, size: bigint, pageSize: bigint, bitmap: Uint8Array): bigint {
    const place = { pageSize, size: BigInt(bitmap.byteLength), target: bitmap }
    return this.unmap(mm, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, iova, size, place)
  }

  share(mm: NativeAddressSpace): bigint {
    return syscall('share', () => this.#native.share(mm))
  }

  info(): IommuInfo {
    const info = syscall('VFIO_IOMMU_GET_INFO', () => this.#native.info())
    return {
      pageSizes: info.pgsizes,
      mappingsAvailable: info.dmaAvail,
      ...(info.iovaRanges === undefined ? {} : { iovaRanges: info.iovaRanges }),
      ...(info.migration === undefined
        ? {}
        : {
            dirtyTracking: { pageSizes: info.migration.pgsizeBitmap, maxBitmapSize: info.migration.maxDirtyBitmapSize },
          }),
    }
  }

  dirtyStart(): void {
    syscall(DIRTY, () => this.#native.dirtyStart(), dirtyRefusal)
  }

  dirtyStop(): void {
    syscall(DIRTY, () => this.#native.dirtyStop(), dirtyRefusal)
  }

  dirtyBitmap(iova: bigint, size: bigint, pageSize: bigint, bitmap: Uint8Array): void {
    this.dirtyBitmapAt(iova, size, { pageSize, size: BigInt(bitmap.byteLength), target: bitmap })
  }

  /** Reports and clears the dirty pages of a range to wherever the bitmap is. @throws {VfioError} EINVAL, EACCES, EFAULT */
  dirtyBitmapAt(iova: bigint, size: bigint, bitmap: BitmapPlace): void {
    explained(
      DIRTY,
      () => this.#native.dirtyGetBitmap(iova, size, bitmap),
      (code) => ({ address: iova, ...dirtyRefusal(code) }),
    )
  }

  get faults(): NativeFaultLog {
    this.#faults ??= this.#native.faults()
    return this.#faults
  }

  #whyNotUnmapped(code: ErrnoName, iova: bigint, size: bigint): VfioErrorDetails {
    const { pgsizes } = this.#native.info()
    return unmapRefusal(code, { iova, size, page: pgsizes & -pgsizes })
  }

  #mapError(ret: number, flags: number, vaddr: bigint, iova: bigint, size: bigint): VfioError {
    const error = VfioError.fromStatus(ret, MAP)
    return new VfioError(
      error.code,
      MAP,
      mapRefusal(error.code, { flags, vaddr, iova, size }, () => this.info()),
    )
  }
}

/** Runs a native call and says why it refuses; what a device throws in the midst of it is left as it is. */
function explained<T>(operation: string, run: () => T, why: (code: ErrnoName) => VfioErrorDetails): T {
  try {
    return run()
  } catch (cause) {
    if (!isErrno(cause) || (cause.syscall ?? operation) !== operation) throw cause
    throw new VfioError(cause.code, operation, { ...why(cause.code), cause })
  }
}
