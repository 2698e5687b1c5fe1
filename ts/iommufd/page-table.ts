/** The typed handle of a page table. */
import { VfioError } from '../errors.ts'
import { syscall } from '../native/syscall.ts'
import { flag, u64, type U64 } from '../shape.ts'
import type { IommufdContext } from './context.ts'
import type { HwptPaging } from './hwpt.ts'

/** Which pages of a range were written. */
export interface WrittenQuery {
  iova: U64
  length: U64
  /** Bytes that one bit stands for; default 4096. */
  pageSize?: U64
  /** Keep what is told; default false: it is forgotten. */
  keep?: boolean
}

/** Most bytes of a bitmap. */
const MOST = 1n << 28n

/** A page table that shows an address space. Made by `device.allocHwpt()`. */
export class Hwpt {
  /**
   * The object behind it.
   * @internal
   */
  readonly object: HwptPaging
  readonly #context: IommufdContext

  /** @internal */
  constructor(object: HwptPaging, context: IommufdContext) {
    this.object = object
    this.#context = context
  }

  /** Its id; 0 once it is destroyed. */
  get id(): number {
    return this.object.id
  }

  /** Starts or stops telling which pages devices write (`IOMMU_HWPT_SET_DIRTY_TRACKING`). @throws {VfioError} EOPNOTSUPP */
  setDirtyTracking(enable: boolean): void {
    const operation = 'IOMMU_HWPT_SET_DIRTY_TRACKING'
    const wanted = flag(enable, 'enable', true)
    const { ioas, native } = this.#open(operation)
    syscall(operation, () => ioas.native.setDirtyTracking(native, wanted))
  }

  /** Tells which pages were written: one bit each (`IOMMU_HWPT_GET_DIRTY_BITMAP`). @throws {VfioError} EOPNOTSUPP, EINVAL */
  dirtyBitmap(query: WrittenQuery): Uint8Array {
    const operation = 'IOMMU_HWPT_GET_DIRTY_BITMAP'
    const iova = u64(query?.iova, 'iova')
    const length = u64(query.length, 'length')
    const pageSize = u64(query.pageSize ?? 4096n, 'pageSize')
    const clear = !flag(query.keep, 'keep', false)
    const { ioas, native } = this.#open(operation)
    if (pageSize === 0n) throw new VfioError('EINVAL', operation, { reason: 'a bit stands for no bytes' })
    const size = ((length / pageSize + 63n) / 64n) * 8n
    if (size > MOST) throw new VfioError('ENOMEM', operation, { reason: 'the bitmap would be too large' })
    return syscall(operation, () => ioas.native.dirtyBitmap(native, { iova, length, pageSize, clear }, Number(size)))
  }

  /** Destroys it (`IOMMU_DESTROY`; idempotent). @throws {VfioError} EBUSY a device is attached */
  destroy(): void {
    if (this.id !== 0) this.#context.objects.destroy(this.id)
  }

  #open(operation: string): HwptPaging {
    if (this.id === 0) throw new VfioError('EBADF', operation, { reason: 'the page table was destroyed' })
    return this.object
  }
}
