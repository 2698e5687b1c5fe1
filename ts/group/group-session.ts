/** One open of a group: what the typed handle and the group file both call. */
import { DeviceSession } from '../device/device-session.ts'
import type { Task } from '../device/task.ts'
import type { DeviceAccess } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import { VFIO_GROUP_FLAGS_CONTAINER_SET, VFIO_GROUP_FLAGS_VIABLE } from '../uapi/constants.ts'
import type { GroupContainer, GroupUser, VfioGroup } from './vfio-group.ts'

/** An open group. It stays open while anybody holds it: its opener, devices that are open, KVM. */
export class GroupSession implements GroupUser {
  readonly group: VfioGroup
  #holds = 1

  /** Opens `group` on behalf of `task`. @throws {VfioError} ENODEV, EPERM, EBUSY */
  constructor(task: Task, group: VfioGroup) {
    this.group = group
    group.open(task, this)
  }

  hold(): void {
    this.#holds++
  }

  release(): void {
    this.#holds--
    if (this.#holds === 0) this.group.close(this)
  }

  /** `VFIO_GROUP_GET_STATUS`: the flags. @throws {VfioError} ENODEV its devices have left */
  flags(): number {
    if (this.group.gone)
      throw new VfioError('ENODEV', 'VFIO_GROUP_GET_STATUS', { reason: `group ${this.group.name} is gone` })
    const set = this.group.attached ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0
    return set | (this.group.viable ? VFIO_GROUP_FLAGS_VIABLE : 0)
  }

  /** `VFIO_GROUP_SET_CONTAINER`. @throws {VfioError} EINVAL, ENODEV, EBADFD, EPERM, and what the IOMMU refuses with */
  setContainer(task: Task, container: GroupContainer | undefined): void {
    this.group.setContainer(task, container)
  }

  /** `VFIO_GROUP_UNSET_CONTAINER`. @throws {VfioError} EINVAL, EBUSY */
  unsetContainer(): void {
    this.group.unsetContainer()
  }

  /**
   * `VFIO_GROUP_GET_DEVICE_FD`: opens a device by name.
   * @throws {VfioError} ENODEV no such device, EINVAL no container or it has no IOMMU, EPERM, and what the driver refuses with
   */
  openDevice(task: Task, name: string): DeviceSession {
    const { group } = this
    const device = group.find(name)
    group.requireContainer()
    const access: DeviceAccess = {
      kind: 'group',
      machine: group.machine,
      openDevice: () => group.attachDevice(task, device),
      closeDevice: () => group.detachDevice(device),
    }
    return DeviceSession.open(device, access)
  }
}
