/**
 * A group as VFIO sees it: the devices of one IOMMU group that VFIO drivers hold (`struct vfio_group`).
 *
 * It comes with the first such device and is gone with the last. One user at a time opens it (`GroupSession`); the open group
 * is put into a container, and its devices are opened through that.
 */
import type { DmaAccess, VfioDeviceOps } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import type { IommuGroup, ReservedRegion } from './iommu-group.ts'

/** The place that a group has in a container. */
export interface GroupAttachment {
  /** Whether an open device keeps the group open and attached; a container wants it so, an iommufd does not. */
  readonly holdsGroup: boolean
  /** Gives a device that is being opened its view of memory. @throws {VfioError} EINVAL no IOMMU yet, EPERM */
  openDevice(task: Task, device: { name: string; ops: VfioDeviceOps }): DmaAccess | undefined
  closeDevice(device: { name: string; ops: VfioDeviceOps }): void
  /** Takes the group out. */
  detach(): void
}

/** What a group can be put into. */
export interface GroupContainer {
  /** @throws {VfioError} EPERM not viable, or what the IOMMU refuses with */
  attach(task: Task, group: VfioGroup): GroupAttachment
}

/** Who has the group open. */
export interface GroupUser {
  /** Keeps the group open although its last descriptor is closed. */
  hold(): void
  /** Ends a hold. */
  release(): void
}

/** A group of devices that VFIO drivers hold. */
export class VfioGroup {
  readonly iommuGroup: IommuGroup
  /** The virtual machine that the group was given to (`KVM_DEV_VFIO_FILE_ADD`). */
  machine: object | undefined
  readonly #devices = new Set<VfioDevice>()
  #drivers = 0
  #user: GroupUser | undefined
  #attachment: GroupAttachment | undefined
  /** How to close each open device: through the container that it was opened through. */
  readonly #ways = new Map<VfioDevice, () => void>()
  #cdevs = 0
  #gone = false

  /** Made by the registry only. */
  constructor(iommuGroup: IommuGroup) {
    this.iommuGroup = iommuGroup
  }

  get number(): number {
    return this.iommuGroup.number
  }

  get kind(): 'iommu' | 'emulated' | 'noiommu' {
    return this.iommuGroup.kind
  }

  /** Name of its file under `/dev/vfio`: the number, after `noiommu-` where there is no isolation. */
  get name(): string {
    return this.kind === 'noiommu' ? `noiommu-${this.number}` : String(this.number)
  }

  get reserved(): readonly ReservedRegion[] {
    return this.iommuGroup.reserved
  }

  /** Devices that can be opened. */
  get devices(): readonly VfioDevice[] {
    return [...this.#devices]
  }

  /** Whether its last device has left; nothing can be done with it any more. */
  get gone(): boolean {
    return this.#gone
  }

  /** Takes the group's DMA away from host drivers. @throws {VfioError} EPERM one of them does DMA: not viable */
  claimDma(): void {
    this.iommuGroup.claimDmaOwner(this)
  }

  /** Gives it back. */
  releaseDma(): void {
    this.iommuGroup.releaseDmaOwner()
  }

  /** Whether it is in a container. */
  get attached(): boolean {
    return this.#attachment !== undefined
  }

  /** Whether a user may have it: it is in a container, or no host driver uses its DMA. */
  get viable(): boolean {
    return this.attached || !this.iommuGroup.dmaOwnerClaimed
  }

  /** For the registry: a device of a VFIO driver joins. */
  join(device: VfioDevice): void {
    this.#drivers++
    this.#devices.add(device)
  }

  /** For the registry: nobody can open the device through the group from now on. */
  hide(device: VfioDevice): void {
    this.#devices.delete(device)
  }

  /** For the registry: a device has left for good. Returns whether it was the last one, which ends the group. */
  leave(): boolean {
    this.#drivers--
    if (this.#drivers > 0) return false
    this.#gone = true
    this.#detach()
    return true
  }

  /**
   * Opens the group for `user`.
   * @throws {VfioError} ENODEV its devices have left, EPERM no isolation and no right to that, EBUSY it is open, or a device of it
   * through its own file
   */
  open(task: Task, user: GroupUser): void {
    if (this.#gone) throw new VfioError('ENODEV', 'open', { reason: `group ${this.name} is gone` })
    if (this.kind === 'noiommu' && !task.capable('CAP_SYS_RAWIO')) {
      throw new VfioError('EPERM', 'open', { reason: 'a group without isolation needs CAP_SYS_RAWIO' })
    }
    if (this.#cdevs > 0)
      throw new VfioError('EBUSY', 'open', { reason: 'a device of the group is open through its own file' })
    if (this.#user !== undefined) {
      throw new VfioError('EBUSY', 'open', {
        reason: `group ${this.name} is open`,
        remedy: 'close the group and all devices got from it, or pass the open one on',
      })
    }
    this.#user = user
  }

  /** `user` and all who held it have closed the group; it leaves its container. */
  close(user: GroupUser): void {
    if (this.#user !== user) return
    this.#detach()
    this.#user = undefined
  }

  /** A device of the group is opened through its own file, which keeps the group closed. @throws {VfioError} EBUSY it is open */
  blockByCdev(): void {
    if (this.#user !== undefined)
      throw new VfioError('EBUSY', 'VFIO_DEVICE_BIND_IOMMUFD', { reason: `group ${this.name} is open` })
    this.#cdevs++
  }

  /** Ends such a block. */
  unblockByCdev(): void {
    this.#cdevs--
  }

  /**
   * `VFIO_GROUP_SET_CONTAINER`; undefined stands for a file that can be none.
   * @throws {VfioError} EINVAL it has one, ENODEV its devices have left, EBADFD no container, EPERM not viable, and what the
   * IOMMU refuses with
   */
  setContainer(task: Task, container: GroupContainer | undefined): void {
    const operation = 'VFIO_GROUP_SET_CONTAINER'
    if (this.attached) throw new VfioError('EINVAL', operation, { reason: `group ${this.name} has a container` })
    if (this.#gone) throw new VfioError('ENODEV', operation, { reason: `group ${this.name} is gone` })
    if (container === undefined) throw new VfioError('EBADFD', operation, { reason: 'the descriptor is no container' })
    this.#attachment = container.attach(task, this)
  }

  /** `VFIO_GROUP_UNSET_CONTAINER`. @throws {VfioError} EINVAL it has none, EBUSY a device is open */
  unsetContainer(): void {
    const operation = 'VFIO_GROUP_UNSET_CONTAINER'
    if (this.#attachment === undefined)
      throw new VfioError('EINVAL', operation, { reason: `group ${this.name} has no container` })
    if (this.#attachment.holdsGroup && this.#ways.size > 0) {
      throw new VfioError('EBUSY', operation, {
        reason: 'a device of the group is open',
        remedy: 'close the devices first',
      })
    }
    this.#detach()
  }

  /** Finds a device as `VFIO_GROUP_GET_DEVICE_FD` does. @throws {VfioError} ENODEV no such device, and what a driver says of the name */
  find(name: string): VfioDevice {
    for (const device of this.#devices) {
      const { ops } = device
      const matches = ops.match === undefined ? device.name === name : ops.match(name) === true
      if (matches && device.registered) return device
    }
    throw new VfioError('ENODEV', 'VFIO_GROUP_GET_DEVICE_FD', {
      reason: `group ${this.name} has no device '${name}' of a VFIO driver`,
      remedy:
        this.#devices.size === 0 ? 'bind one' : `it has ${[...this.#devices].map((device) => device.name).join(', ')}`,
    })
  }

  /** The way to a device through the container that the group is in now. @throws {VfioError} EINVAL none */
  attachDevice(task: Task, device: VfioDevice): DmaAccess | undefined {
    const attachment = this.#attachment
    const user = this.#user
    if (attachment === undefined || user === undefined) throw this.#noContainer()
    const dma = attachment.openDevice(task, device)
    if (attachment.holdsGroup) user.hold()
    this.#ways.set(device, () => {
      attachment.closeDevice(device)
      if (attachment.holdsGroup) user.release()
    })
    return dma
  }

  /** The last user of a device has closed it. */
  detachDevice(device: VfioDevice): void {
    const undo = this.#ways.get(device)
    this.#ways.delete(device)
    undo?.()
  }

  /** Refuses devices of a group without container. @throws {VfioError} EINVAL */
  requireContainer(): void {
    if (this.#attachment === undefined) throw this.#noContainer()
  }

  #detach(): void {
    const attachment = this.#attachment
    this.#attachment = undefined
    attachment?.detach()
  }

  #noContainer(): VfioError {
    return new VfioError('EINVAL', 'VFIO_GROUP_GET_DEVICE_FD', {
      reason: `group ${this.name} has no container`,
      remedy: 'put it into one and choose an IOMMU model',
    })
  }
}
