/** The typed handle of a guest's page table. */
import { VfioError } from '../errors.ts'
import { u64, type U64 } from '../shape.ts'
import type { IommufdContext } from './context.ts'
import type { HwptNested } from './nested-hwpt.ts'

const PAGE = 4096n
const ALL_PAGES = 0xffff_ffff_ffff_ffffn

/** A page table in a guest's memory. Made by `device.allocNestedHwpt()`. */
export class NestedHwpt {
  readonly #object: HwptNested
  readonly #context: IommufdContext

  /** @internal */
  constructor(object: HwptNested, context: IommufdContext) {
    this.#object = object
    this.#context = context
  }

  /** Its id; 0 once it is destroyed. */
  get id(): number {
    return this.#object.id
  }

  /**
   * Forgets what is remembered of a range, or of everything: the guest has changed its entries (`IOMMU_HWPT_INVALIDATE`). When it
   * returns, no device goes by the old ones any more.
   * @throws {VfioError} EBADF destroyed, EINVAL not multiples of 4 KiB, or the range wraps
   */
  invalidate(range?: { iova: U64; length: U64 }): void {
    const operation = 'IOMMU_HWPT_INVALIDATE'
    if (this.id === 0) throw new VfioError('EBADF', operation, { reason: 'the page table was destroyed' })
    if (range === undefined) return this.#object.invalidate(0n, ALL_PAGES)
    const length = u64(range.length, 'length')
    if (length % PAGE !== 0n) throw new VfioError('EINVAL', operation, { reason: 'the length is no multiple of 4096' })
    this.#object.invalidate(u64(range.iova, 'iova'), length / PAGE)
  }

  /** Destroys it (`IOMMU_DESTROY`; idempotent). @throws {VfioError} EBUSY a device is attached */
  destroy(): void {
    if (this.id !== 0) this.#context.objects.destroy(this.id)
  }
}
