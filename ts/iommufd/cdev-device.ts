/** The typed handle of a device that is bound to an iommufd. */
import { Device } from '../device/device-handle.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { flag, record, u32, u64, type U64 } from '../shape.ts'
import { IOMMU_HWPT_ALLOC_DIRTY_TRACKING, IOMMU_HWPT_ALLOC_NEST_PARENT } from '../uapi/constants.ts'
import { Ioas } from './address-space.ts'
import type { CdevSession } from './cdev-session.ts'
import type { IommufdContext } from './context.ts'
import { IommufdDevice } from './device.ts'
import type { IommuHardware } from './hardware.ts'
import { HwptPaging } from './hwpt.ts'
import { HwptNested } from './nested-hwpt.ts'
import { NestedHwpt } from './nested-page-table.ts'
import { Hwpt } from './page-table.ts'

const ATTACH = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'
const ALLOC = 'IOMMU_HWPT_ALLOC'

/** What a page table is for. */
export interface HwptOptions {
  /** It can tell which pages devices write. */
  dirtyTracking?: boolean
  /** Page tables of a guest can stand on it. */
  nestParent?: boolean
}

/** A page table in a guest's memory; its format is in {@link SOFTWARE_IOMMU_TYPE}. */
export interface NestedHwptOptions {
  /** Guest physical address of its topmost page, 4 KiB aligned. */
  root: U64
  /** 3 to 5; default 4. */
  levels?: number
  /** Notes in the entries what was read and written; default false. */
  accessedDirty?: boolean
}

/** What an IOMMU tells of itself. */
export interface HardwareInfo {
  /** `IOMMU_HW_INFO_TYPE_*`, or {@link SOFTWARE_IOMMU_TYPE}. */
  type: number
  data: Uint8Array
  /** `IOMMU_HW_CAP_*`. */
  capabilities: bigint
}

/** An open device whose DMA an iommufd decides about. Got from `iommufd.bind(name)`. */
export class CdevDevice extends Device {
  readonly #cdev: CdevSession

  /** @internal */
  constructor(cdev: CdevSession) {
    super(cdev.session)
    this.#cdev = cdev
    this.once('close', () => cdev.closed())
  }

  /** Its id within the iommufd; 0 once it is closed. */
  get id(): number {
    return this.closed ? 0 : this.#cdev.bound.id
  }

  /**
   * Attaches it to an address space, a page table or a guest's page table, or moves it there; returns the id of what it is attached to.
   * @throws {VfioError} EBADF closed, EADDRINUSE what is mapped is out of its reach, EINVAL, EFAULT, ENOMEM
   */
  attach(target: Ioas | Hwpt | NestedHwpt): number {
    if (!(target instanceof Ioas || target instanceof Hwpt || target instanceof NestedHwpt)) {
      throw invalidArgType('target', 'an Ioas, a Hwpt or a NestedHwpt', target)
    }
    if (target.id === 0) throw new VfioError('EBADF', ATTACH, { reason: 'what it is to be attached to was destroyed' })
    this.session.ops(ATTACH)
    return this.#cdev.bound.attach(target.id)
  }

  /** Detaches it (idempotent): its DMA leads nowhere. @throws {VfioError} EBADF closed */
  detach(): void {
    this.session.ops('VFIO_DEVICE_DETACH_IOMMUFD_PT')
    this.#cdev.bound.detach()
  }

  /**
   * Makes a page table that this device can be attached to (`IOMMU_HWPT_ALLOC`).
   * @throws {VfioError} EBADF, ENOENT a mediated device, EOPNOTSUPP the IOMMU cannot do it, EADDRINUSE
   */
  allocHwpt(ioas: Ioas, options: HwptOptions = {}): Hwpt {
    if (!(ioas instanceof Ioas)) throw invalidArgType('ioas', 'an Ioas', ioas)
    record(options, 'options')
    const dirty = flag(options.dirtyTracking, 'dirtyTracking', false) ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0
    const parent = flag(options.nestParent, 'nestParent', false) ? IOMMU_HWPT_ALLOC_NEST_PARENT : 0
    const { context, hardware } = this.#bound(ALLOC)
    if (ioas.id === 0) throw new VfioError('EBADF', ALLOC, { reason: 'the address space was destroyed' })
    const hwpt = new HwptPaging(ioas.object, hardware, dirty | parent, false)
    hwpt.enter()
    return new Hwpt(context.objects.add(hwpt), context)
  }

  /**
   * Makes a page table of a guest's, which stands in the memory that `parent` maps (`IOMMU_HWPT_ALLOC` with data).
   * @throws {TypeError | RangeError} a value of the wrong shape
   * @throws {VfioError} EBADF, EOPNOTSUPP the IOMMU nests none, EINVAL `parent` was not made as one, or the format is wrong
   */
  allocNestedHwpt(parent: Hwpt, options: NestedHwptOptions): NestedHwpt {
    if (!(parent instanceof Hwpt)) throw invalidArgType('parent', 'a Hwpt', parent)
    const { root, levels, accessedDirty } = record(options, 'options')
    const format = {
      root: u64(root, 'root'),
      levels: u32(levels ?? 4, 'levels'),
      accessedDirty: flag(accessedDirty, 'accessedDirty', false),
    }
    const { context, hardware } = this.#bound(ALLOC)
    if (hardware.nestedType === undefined) {
      throw new VfioError('EOPNOTSUPP', ALLOC, {
        reason: 'the IOMMU nests no page tables',
        remedy: "make the machine with iommu: { model: 'software' }",
      })
    }
    if (parent.id === 0) throw new VfioError('EBADF', ALLOC, { reason: 'the parent was destroyed' })
    return new NestedHwpt(context.objects.add(new HwptNested(parent.object, format)), context)
  }

  /** What the IOMMU tells of itself (`IOMMU_GET_HW_INFO`). @throws {VfioError} EBADF closed, ENOENT a mediated device */
  hardwareInfo(): HardwareInfo {
    const { hardware } = this.#bound('IOMMU_GET_HW_INFO')
    return { type: hardware.info.type, data: hardware.info.data.slice(), capabilities: hardware.capabilities }
  }

  #bound(operation: string): { context: IommufdContext; hardware: IommuHardware } {
    this.session.ops(operation)
    const { context, id } = this.#cdev.bound
    return { context, hardware: context.objects.getOf(id, IommufdDevice, operation).hardware }
  }
}
