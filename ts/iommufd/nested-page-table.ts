/** The typed handle of a guest's page table. */
import { VfioError } from '../errors.ts'
import { syscall } from '../native/syscall.ts'
import { u64, type U64 } from '../shape.ts'
import type { IommufdContext } from './context.ts'
import type { HwptNested } from './hwpt-nested.ts'

/** All pages, in an invalidation. */
const ALL = 0xffff_ffff_ffff_ffffn
const PAGE = 4096n

/** A page table that a guest keeps in its memory. Made by `device.allocNestedHwpt()`. */
export class NestedHwpt {
  /**
   * The object behind it.
   * @internal
   */
  readonly object: HwptNested
  readonly #context: IommufdContext

  /** @internal */
  constructor(object: HwptNested, context: IommufdContext) {
    this.object = object
    this.#context = context
  }

  /** Its id; 0 once it is destroyed. */
  get id(): number {
    return this.object.id
  }

  /**
   * Has the IOMMU forget what it remembers of a range, or of all (`IOMMU_HWPT_INVALIDATE`): until then what the guest changed in
   * entries that were used does not count.
   * @throws {VfioError} EBADF destroyed, EINVAL not whole pages
   */
  invalidate(range?: { iova: U64; length: U64 }): void {
    const operation = 'IOMMU_HWPT_INVALIDATE'
    const { native } = this.object.table
    if (this.id === 0 || native === undefined) {
      throw new VfioError('EBADF', operation, { reason: 'the page table was destroyed' })
    }
    if (range === undefined) return syscall(operation, () => native.invalidate(0n, ALL))
    const [iova, length] = [u64(range.iova, 'iova'), u64(range.length, 'length')]
    if (length % PAGE !== 0n) throw new VfioError('EINVAL', operation, { address: iova, reason: 'no whole pages' })
    syscall(operation, () => native.invalidate(iova, length / PAGE), { address: iova })
  }

  /** Destroys it (`IOMMU_DESTROY`; idempotent). @throws {VfioError} EBUSY a device is attached */
  destroy(): void {
    if (this.id !== 0) this.#context.objects.destroy(this.id)
  }
}
