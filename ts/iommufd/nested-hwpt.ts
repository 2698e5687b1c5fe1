/** Page tables of guests as objects (`IOMMUFD_OBJ_HWPT_NESTED`). */
import { VfioError } from '../errors.ts'
import type { NativeDevicePort, NativeNestedTable } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { IommuHardware } from './hardware.ts'
import type { HwptPaging } from './hwpt.ts'
import type { IoasObject } from './ioas.ts'
import { IommufdObject } from './object.ts'
import type { NestedTableFormat } from './software-iommu.ts'

/** A page table that a guest keeps in its memory, on top of one that maps that memory. */
export class HwptNested extends IommufdObject {
  readonly kind = 'hwpt-nested'
  readonly auto = false
  readonly tracksDirty = false
  readonly parent: HwptPaging
  readonly native: NativeNestedTable

  /**
   * Makes a page table on top of `parent`, which stays as long as it does.
   * @throws {VfioError} EINVAL `parent` is no parent, the root is not aligned, no such number of levels
   */
  constructor(parent: HwptPaging, format: NestedTableFormat) {
    super()
    if (parent.auto || !parent.nestParent) {
      throw new VfioError('EINVAL', 'IOMMU_HWPT_ALLOC', {
        reason: `page table ${parent.id} was not made as a parent`,
        remedy: 'make it with IOMMU_HWPT_ALLOC_NEST_PARENT',
      })
    }
    const { NestedTable } = addon().iommufd
    this.native = syscall('IOMMU_HWPT_ALLOC', () => new NestedTable(parent.native, parent.ioas.native, format), {
      address: format.root,
    })
    this.parent = parent
    parent.hold()
  }

  get ioas(): IoasObject {
    return this.parent.ioas
  }

  get hardware(): IommuHardware {
    return this.parent.hardware
  }

  /** Lets a device go through it. */
  lead(port: NativeDevicePort): void {
    port.attachNested(this.native)
  }

  /** Forgets what is remembered of pages; all where `pages` is 2^64-1. @throws {VfioError} EINVAL */
  invalidate(iova: bigint, pages: bigint): void {
    syscall('IOMMU_HWPT_INVALIDATE', () => this.native.invalidate(iova, pages), { address: iova })
  }

  destroy(): void {
    this.parent.release()
  }
}
