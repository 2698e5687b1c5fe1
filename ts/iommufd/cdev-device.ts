/** The typed handle of a device that is bound to an iommufd. */
import { Device } from '../device/device-handle.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { flag } from '../shape.ts'
import { IOMMU_HWPT_ALLOC_DIRTY_TRACKING } from '../uapi/constants.ts'
import { Ioas } from './address-space.ts'
import type { CdevSession } from './cdev-session.ts'
import { IommufdDevice } from './device.ts'
import { HwptPaging } from './hwpt.ts'
import { Hwpt } from './page-table.ts'

const ATTACH = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'

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
   * Attaches it to an address space or a page table, or moves it there; returns the id of what it is attached to.
   * @throws {VfioError} EBADF closed, EADDRINUSE what is mapped is out of its reach, EINVAL, EFAULT, ENOMEM
   */
  attach(target: Ioas | Hwpt): number {
    if (!(target instanceof Ioas || target instanceof Hwpt)) {
      throw invalidArgType('target', 'an Ioas or a Hwpt', target)
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
  allocHwpt(ioas: Ioas, options: { dirtyTracking?: boolean } = {}): Hwpt {
    const operation = 'IOMMU_HWPT_ALLOC'
    if (!(ioas instanceof Ioas)) throw invalidArgType('ioas', 'an Ioas', ioas)
    this.session.ops(operation)
    if (ioas.id === 0) throw new VfioError('EBADF', operation, { reason: 'the address space was destroyed' })
    const { context, id } = this.#cdev.bound
    const { hardware } = context.objects.getOf(id, IommufdDevice, operation)
    const flags = flag(options.dirtyTracking, 'dirtyTracking', false) ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0
    const hwpt = new HwptPaging(ioas.object, hardware, flags, false)
    hwpt.enter()
    return new Hwpt(context.objects.add(hwpt), context)
  }
}
