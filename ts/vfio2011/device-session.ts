/** One open of a device: what its file and its typed handle both call. */
import type { BusDriverArgument, BusDriverArea } from '../device/bus-driver-ops.ts'
import type { RegionMapping } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import type { DeviceUser } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import type { AddedDevice } from './added-device.ts'
import type { DeviceGroup } from './device-group.ts'
import type { DeviceOps } from './device-ops.ts'

/** An open device. */
export class DeviceSession implements DeviceUser {
  /** Runs when the device is asked back. */
  onRequest: ((count: number) => void) | undefined
  readonly name: string
  readonly #group: DeviceGroup
  readonly #ops: DeviceOps<unknown>
  readonly #data: unknown
  readonly #close: () => void
  #closed = false

  /**
   * Opens the device of `group` that `name` means (`VFIO_GROUP_GET_DEVICE_FD`).
   * @throws {VfioError} ENODEV no such device, EPERM not viable or another process uses the IOMMU, and what the driver refuses with
   */
  constructor(task: Task, group: DeviceGroup, name: string) {
    const added: AddedDevice = group.find(name)
    const { data, users } = added.require('VFIO_GROUP_GET_DEVICE_FD')
    this.name = added.device.name
    this.#group = group
    this.#ops = added.ops
    this.#data = data
    group.holdDevice(task)
    try {
      const place = group.merged.place(group)
      users.open(this, {
        kind: 'group',
        openDevice: (device) => place.openDevice(task, device),
        closeDevice: (device) => place.closeDevice(device),
      })
    } catch (error) {
      group.releaseDevice()
      throw error
    }
    this.#close = () => users.close(this)
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed
  }

  requested(count: number): void {
    this.onRequest?.(count)
  }

  /** Sends a request of the header of 2011 to the driver; returns its value. @throws {VfioError} EINVAL the driver takes none, ENOTTY … */
  ioctl(request: number, argument: BusDriverArgument): number {
    return this.#callback('ioctl').call(this.#ops, this.#data, request, argument)
  }

  /** Reads at a position of the device file. @throws {VfioError} EINVAL the driver reads nothing, EAGAIN it answers later */
  read(into: Uint8Array, position: bigint): number {
    return atOnce('read', this.#callback('read').call(this.#ops, this.#data, into, position))
  }

  /** Writes at a position of the device file. @throws {VfioError} EINVAL the driver writes nothing, EAGAIN it answers later */
  write(from: Uint8Array, position: bigint): number {
    return atOnce('write', this.#callback('write').call(this.#ops, this.#data, from, position))
  }

  /** Maps part of the device file. @throws {VfioError} EINVAL the driver maps nothing, or not that */
  mmap(area: BusDriverArea): RegionMapping {
    return this.#callback('mmap').call(this.#ops, this.#data, area)
  }

  /** Closes it (idempotent). */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#close()
    this.#group.releaseDevice()
  }

  #callback<K extends 'ioctl' | 'read' | 'write' | 'mmap'>(name: K): NonNullable<DeviceOps<unknown>[K]> {
    if (this.#closed) throw new VfioError('EBADF', name, { reason: `the device ${this.name} is closed` })
    const callback = this.#ops[name]
    if (callback === undefined) throw new VfioError('EINVAL', name, { reason: `the driver has no ${name}` })
    return callback
  }
}

/** The bytes of an access that is done. A driver that completes later cannot be waited for here. */
function atOnce(operation: string, done: number | Promise<number>): number {
  if (typeof done === 'number') return done
  done.catch(() => {}) // the answer comes too late to be told
  throw new VfioError('EAGAIN', operation, { reason: 'the device answers later' })
}
