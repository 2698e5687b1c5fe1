/** One open of a device by its own file: what the file and the typed handle both call. */
import { DeviceSession } from '../device/device-session.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import type { VfioGroup } from '../group/vfio-group.ts'
import { BoundDevice } from './bound-device.ts'
import type { IommufdContext } from './context.ts'
import type { MachineIommu } from './hardware.ts'

const BIND = 'VFIO_DEVICE_BIND_IOMMUFD'

/** An open device that is bound to an iommufd, or not yet. */
export class CdevSession {
  readonly session: DeviceSession
  readonly #group: VfioGroup
  readonly #iommu: MachineIommu
  #bound: BoundDevice | undefined

  constructor(device: VfioDevice, group: VfioGroup, iommu: MachineIommu) {
    this.session = new DeviceSession(device)
    this.#group = group
    this.#iommu = iommu
  }

  /** What binds it. @throws {VfioError} EINVAL it is not bound */
  get bound(): BoundDevice {
    if (this.#bound === undefined) throw new VfioError('EINVAL', 'ioctl', { reason: 'the device is not bound' })
    return this.#bound
  }

  /**
   * Binds the device to the iommufd that `find` gives (`VFIO_DEVICE_BIND_IOMMUFD`); `announce` tells the user its id there.
   * @throws {VfioError} EBUSY its group is open, EINVAL bound already, EPERM a host driver uses the DMA of its group, and what
   * `find`, `announce` and the driver refuse with
   */
  bind(find: () => IommufdContext, announce: (id: number) => void = () => {}): BoundDevice {
    this.#group.blockByCdev()
    try {
      if (this.session.access !== undefined) {
        throw new VfioError('EINVAL', BIND, { reason: 'the device is bound already' })
      }
      const bound = new BoundDevice('cdev', find(), this.#group, this.#iommu)
      this.session.grant(bound, () => announce(bound.id))
      this.#bound = bound
      return bound
    } catch (error) {
      this.#group.unblockByCdev()
      throw error
    }
  }

  /** The session has closed: the group can be opened again (idempotent). */
  closed(): void {
    if (this.#bound === undefined) return
    this.#bound = undefined
    this.#group.unblockByCdev()
  }
}
