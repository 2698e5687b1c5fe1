/** The typed handle of an open group of 2011. */
import type { Task } from '../device/task.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { text } from '../shape.ts'
import { VFIO_GROUP_FLAGS_MM_LOCKED, VFIO_GROUP_FLAGS_VIABLE } from '../uapi/2011/constants.ts'
import { Device } from './device.ts'
import type { DeviceGroup } from './device-group.ts'
import { DeviceSession } from './device-session.ts'
import { Iommu } from './iommu.ts'
import { IommuSession } from './iommu-session.ts'

/** An open group. */
export class Group {
  readonly #group: DeviceGroup
  readonly #task: Task
  #closed = false

  /** @internal */
  constructor(group: DeviceGroup, task: Task) {
    group.open()
    this.#group = group
    this.#task = task
  }

  /** Name of its file under `/dev/vfio`. */
  get name(): string {
    return this.#group.name
  }

  /** Whether the handle was closed. */
  get closed(): boolean {
    return this.#closed
  }

  /**
   * Whether all its devices are bound, and whether its IOMMU is in use, by the memory of one process (`VFIO_GROUP_GET_INFO`).
   * @throws {VfioError} EBADF closed, ENODEV its devices were taken away
   */
  info(): { viable: boolean; mmLocked: boolean } {
    const flags = this.#open('VFIO_GROUP_GET_INFO').flags()
    return { viable: (flags & VFIO_GROUP_FLAGS_VIABLE) !== 0, mmLocked: (flags & VFIO_GROUP_FLAGS_MM_LOCKED) !== 0 }
  }

  /**
   * Merges another group into this one (`VFIO_GROUP_MERGE`): they share an IOMMU from now on. This one may be in use.
   * @throws {VfioError} EBADF closed, ENODEV the devices of one were taken away, EINVAL they are merged already, EBUSY the other is in use or
   * merged; where the IOMMU is in use also EPERM the other is not viable, and what the IOMMU refuses with
   */
  merge(other: Group): void {
    const group = this.#open('VFIO_GROUP_MERGE')
    if (!(other instanceof Group)) throw invalidArgType('other', 'a Group', other)
    group.merge(other.#open('VFIO_GROUP_MERGE'), this.#task)
  }

  /** Takes this group out of those that it was merged with (`VFIO_GROUP_UNMERGE`). @throws {VfioError} EBADF, EINVAL it is not merged, EBUSY a device of it is open */
  unmerge(): void {
    this.#open('VFIO_GROUP_UNMERGE').unmerge()
  }

  /** Opens the IOMMU that it shares with the groups it is merged with (`VFIO_GROUP_GET_IOMMU_FD`). @throws {VfioError} EBADF closed, EPERM not viable, or another process uses it */
  openIommu(): Iommu {
    return new Iommu(new IommuSession(this.#task, this.#open('VFIO_GROUP_GET_IOMMU_FD')), this.#task)
  }

  /** Opens a device (`VFIO_GROUP_GET_DEVICE_FD`). @throws {VfioError} EBADF closed, ENODEV no such device, EPERM not viable, and what its driver refuses with */
  openDevice(name: string): Device {
    return new Device(new DeviceSession(this.#task, this.#open('VFIO_GROUP_GET_DEVICE_FD'), text(name, 'name')))
  }

  /** Closes the handle (idempotent). The group stays merged as long as the IOMMU is in use. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#group.close()
  }

  /** Closes the handle. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(operation: string): DeviceGroup {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the group is closed' })
    return this.#group
  }
}
