/** Page tables of hardware as objects (`IOMMUFD_OBJ_HWPT_PAGING`). */
import { VfioError } from '../errors.ts'
import type { NativePagingDomain } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import {
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_HWPT_FAULT_ID_VALID,
} from '../uapi/constants.ts'
import { IommufdObject } from './object.ts'
import type { FaultQueue } from './fault-queue.ts'
import type { IommuHardware } from './hardware.ts'
import type { IoasObject } from './ioas.ts'

const KNOWN =
  IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING | IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID
const OPERATION = 'IOMMU_HWPT_ALLOC'

/** A page table that mirrors an address space. */
export class HwptPaging extends IommufdObject {
  readonly kind = 'hwpt-paging'
  readonly ioas: IoasObject
  readonly hardware: IommuHardware
  readonly native: NativePagingDomain
  /** Made because a device was attached to the address space; goes with its last device. */
  readonly auto: boolean
  readonly nestParent: boolean
  readonly pasid: boolean
  readonly tracksDirty: boolean
  #faults: FaultQueue | undefined

  /**
   * Makes a page table of `ioas`, which shows nothing before {@link enter}.
   * @throws {VfioError} EOPNOTSUPP flags that nobody knows or the hardware cannot do
   */
  constructor(ioas: IoasObject, hardware: IommuHardware, flags: number, auto: boolean) {
    super()
    const wanted = flags & ~IOMMU_HWPT_FAULT_ID_VALID
    const both = IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_NEST_PARENT
    if ((flags & ~KNOWN) !== 0 || (wanted & ~hardware.flags) !== 0 || (flags & both) === both) {
      throw new VfioError('EOPNOTSUPP', OPERATION, { reason: `the IOMMU cannot do flags 0x${flags.toString(16)}` })
    }
    this.ioas = ioas
    this.hardware = hardware
    this.auto = auto
    this.nestParent = (flags & IOMMU_HWPT_ALLOC_NEST_PARENT) !== 0
    this.pasid = (flags & IOMMU_HWPT_ALLOC_PASID) !== 0
    this.tracksDirty = (flags & IOMMU_HWPT_ALLOC_DIRTY_TRACKING) !== 0
    const options = { ...hardware.domain, tracksDirty: this.tracksDirty }
    this.native = syscall(OPERATION, () => new (addon().iommufd.PagingDomain)(options))
  }

  /** Itself: what mirrors the address space. */
  get paging(): HwptPaging {
    return this
  }

  /** Where missing pages are asked for. */
  get faults(): FaultQueue | undefined {
    return this.#faults
  }

  /** Shows what is mapped, and will be. @throws {VfioError} EADDRINUSE, EINVAL, EFAULT, ENOMEM */
  enter(): void {
    syscall(OPERATION, () => this.ioas.native.addDomain(this.native))
    this.ioas.hwpts.add(this)
    this.ioas.hold()
  }

  /** Asks for missing pages at a queue, which stays as long as the page table. */
  reportTo(queue: FaultQueue): void {
    this.#faults = queue
    queue.hold()
  }

  destroy(): void {
    this.#faults?.release()
    this.#faults = undefined
    if (!this.ioas.hwpts.delete(this)) return
    this.ioas.native.removeDomain(this.native)
    this.ioas.release()
  }
}
