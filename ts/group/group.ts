/** The typed handle of an open group. */
import { Container } from '../container/container.ts'
import { Device } from '../device/device-handle.ts'
import type { Task } from '../device/task.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { text } from '../shape.ts'
import { VFIO_GROUP_FLAGS_CONTAINER_SET, VFIO_GROUP_FLAGS_VIABLE } from '../uapi/constants.ts'
import { GroupExplanation } from './group-explanation.ts'
import { GroupSession } from './group-session.ts'
import type { GroupContainer, VfioGroup } from './vfio-group.ts'

/** Answer of `VFIO_GROUP_GET_STATUS`. */
export interface GroupStatus {
  /** No host driver uses the DMA of a device in it. */
  viable: boolean
  /** It is in a container. */
  containerSet: boolean
}

/** Anything that takes groups in: a container, or an object that stands in for one. */
export interface ContainerLike {
  /**
   * What takes the groups in.
   * @internal
   */
  readonly groupContainer: GroupContainer
}

/** An open group. One user at a time has it; devices got from it keep it open after it was closed. */
export class Group {
  /**
   * The session behind it.
   * @internal
   */
  readonly session: GroupSession
  readonly #task: Task
  #closed = false

  /**
   * Opens `group` for `task`. @throws {VfioError} ENODEV, EPERM, EBUSY
   * @internal
   */
  constructor(group: VfioGroup, task: Task) {
    this.session = new GroupSession(task, group)
    this.#task = task
  }

  /** Number of the IOMMU group. */
  get number(): number {
    return this.session.group.number
  }

  /** Name of its file under `/dev/vfio`. */
  get name(): string {
    return this.session.group.name
  }

  /** Whether the handle was closed. */
  get closed(): boolean {
    return this.#closed
  }

  /** Names of the devices that can be opened. */
  get deviceNames(): string[] {
    return this.session.group.devices.map((device) => device.name)
  }

  /** Whether it can be used, and is (`VFIO_GROUP_GET_STATUS`). @throws {VfioError} EBADF closed, ENODEV its devices have left */
  status(): GroupStatus {
    const flags = this.#open('VFIO_GROUP_GET_STATUS').flags()
    return {
      viable: (flags & VFIO_GROUP_FLAGS_VIABLE) !== 0,
      containerSet: (flags & VFIO_GROUP_FLAGS_CONTAINER_SET) !== 0,
    }
  }

  /** Tells which device stands in the way, what it is bound to, and what to do. @throws {VfioError} EBADF closed */
  explain(): GroupExplanation {
    const { group } = this.#open('explain')
    const names = new Set(this.deviceNames)
    return new GroupExplanation(group.iommuGroup, group.viable, (name) => names.has(name))
  }

  /**
   * Puts the group into a container (`VFIO_GROUP_SET_CONTAINER`).
   * @throws {VfioError} EBADF closed, EINVAL it is in one, EPERM not viable, and what the IOMMU refuses with
   */
  setContainer(container: Container | ContainerLike): void {
    const session = this.#open('VFIO_GROUP_SET_CONTAINER')
    if (container instanceof Container) {
      if (container.closed)
        throw new VfioError('EBADF', 'VFIO_GROUP_SET_CONTAINER', { reason: 'the container is closed' })
      return session.setContainer(this.#task, container.container)
    }
    const into: unknown = (container as ContainerLike | undefined)?.groupContainer
    if (into === undefined) throw invalidArgType('container', 'a Container', container)
    session.setContainer(this.#task, into as GroupContainer)
  }

  /** Takes the group out of its container. @throws {VfioError} EBADF closed, EINVAL it is in none, EBUSY a device is open */
  unsetContainer(): void {
    this.#open('VFIO_GROUP_UNSET_CONTAINER').unsetContainer()
  }

  /**
   * Opens a device by name (`VFIO_GROUP_GET_DEVICE_FD`).
   * @throws {VfioError} EBADF closed, ENODEV no such device, EINVAL no container or it has no IOMMU, and what the driver refuses with
   */
  getDevice(name: string): Device {
    return new Device(this.#open('VFIO_GROUP_GET_DEVICE_FD').openDevice(this.#task, text(name, 'name')))
  }

  /** Closes the handle (idempotent). The group leaves its container when no device got from it is open any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.session.release()
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(operation: string): GroupSession {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the group is closed' })
    return this.session
  }
}
