/**
 * A registered device: who drives it, who has it open, and its way out (`struct vfio_device`).
 *
 * The registry of `group/` numbers and registers it; each open of it is a `DeviceSession`.
 */
import { VfioError, warnOfModel } from '../errors.ts'
import { DeviceMigration } from './migration.ts'
import type { DmaAccess, VfioDeviceOps } from './ops.ts'

/** What stands between a device and its IOMMU: the group path, or a character device bound to an iommufd. */
export interface DeviceAccess {
  readonly kind: 'group' | 'cdev'
  /** The virtual machine that the group was given to, where KVM was told of it. */
  readonly machine?: object | undefined
  /** The device is opened for the first time: attaches it and gives its view of memory (none: no IOMMU). @throws {VfioError} */
  openDevice(device: VfioDevice): DmaAccess | undefined
  /** The last user has closed it. */
  closeDevice(device: VfioDevice): void
}

/** One open of a device, as the device knows it. */
export interface DeviceUser {
  /** The virtual machine that this open was given to, where KVM was told of it. */
  readonly machine?: object | undefined
  /** The device is going away: please close, for the `count`th time. */
  requested(count: number): void
}

/** Settings of a device. */
export interface VfioDeviceOptions {
  /** Path of its directory in the sysfs tree. */
  path?: string
  /** Milliseconds between two requests to let a device go that is being unregistered; default 10000. */
  requestInterval?: number
}

const REQUEST_INTERVAL = 10_000

/** A device that a VFIO driver registers. */
export class VfioDevice {
  readonly name: string
  readonly ops: VfioDeviceOps
  readonly path: string | undefined
  /** Migration, where the driver migrates. */
  readonly migration: DeviceMigration | undefined
  readonly #requestInterval: number
  readonly #users = new Set<DeviceUser>()
  #access: DeviceAccess | undefined
  #dma: DmaAccess | undefined
  #machine: object | undefined
  #opening = false
  #index: number | undefined
  #leaving: { finished: () => void; requests: number; timer: NodeJS.Timeout | undefined } | undefined
  #released = false

  /** Makes a device (`vfio_alloc_device`); its driver's `init` runs. */
  constructor(name: string, ops: VfioDeviceOps, options: VfioDeviceOptions = {}) {
    this.name = name
    this.ops = ops
    this.path = options.path
    this.migration = ops.migration === undefined ? undefined : new DeviceMigration(ops.migration)
    this.#requestInterval = options.requestInterval ?? REQUEST_INTERVAL
    ops.init?.()
  }

  /** N of `vfioN`, while registered. */
  get index(): number | undefined {
    return this.#index
  }

  /** Whether it can be opened. */
  get registered(): boolean {
    return this.#index !== undefined && this.#leaving === undefined
  }

  /** What the device sees of memory while it is open. */
  get dma(): DmaAccess | undefined {
    return this.#dma
  }

  /** The virtual machine that uses the device while it is open, where KVM was told before it was opened (`vdev->kvm`). */
  get machine(): object | undefined {
    return this.#machine
  }

  /** How many sessions have it open. */
  get openCount(): number {
    return this.#users.size
  }

  /** For the registry: the device is registered as `vfio<index>`. @throws {VfioError} EBUSY it is registered already */
  enter(index: number): void {
    if (this.#index !== undefined || this.#released)
      throw new VfioError('EBUSY', 'register', { reason: `${this.name} is registered already` })
    this.#index = index
  }

  /**
   * For the registry: the device goes. Nobody can open it from now on; `finished` runs when nobody has it open any more, which
   * may be at once. Until then its users are asked to let go, again and again.
   */
  leave(finished: () => void): void {
    if (this.#index === undefined || this.#leaving !== undefined) return
    this.#leaving = { finished, requests: 0, timer: undefined }
    if (this.#users.size === 0 && !this.#opening) this.#left()
    else this.#request()
  }

  /**
   * Opens the device for `user`; the first open attaches it to its IOMMU and runs the driver's `openDevice`.
   * @throws {VfioError} ENODEV it is going away, EINVAL open already and not through a group, EBUSY it is being opened
   */
  open(user: DeviceUser, access: DeviceAccess): void {
    if (!this.registered) throw new VfioError('ENODEV', 'open', { reason: `${this.name} is not registered` })
    if (this.#opening) throw new VfioError('EBUSY', 'open', { reason: `${this.name} is being opened` })
    if (this.#users.size > 0 && access.kind !== 'group') {
      throw new VfioError('EINVAL', 'open', { reason: `${this.name} is open already` })
    }
    if (this.#users.size === 0) this.#firstOpen(access, access.machine ?? user.machine)
    this.#users.add(user)
    if (this.#leaving !== undefined) this.#request()
  }

  /** `user` has closed the device; the last close runs the driver's `closeDevice` and detaches it. */
  close(user: DeviceUser): void {
    if (!this.#users.delete(user) || this.#users.size > 0) return
    const access = this.#access
    this.#access = undefined
    try {
      this.ops.closeDevice?.()
    } catch (error) {
      warnOfModel(error) // nothing keeps a device open
    }
    this.#dma = undefined
    this.#machine = undefined
    access?.closeDevice(this)
    if (this.#leaving !== undefined && this.#users.size === 0) this.#left()
  }

  /** Lets the device go for good (`vfio_put_device`): the driver's `release` runs, once. @throws {VfioError} EBUSY registered */
  put(): void {
    if (this.#index !== undefined) throw new VfioError('EBUSY', 'release', { reason: `${this.name} is registered` })
    if (this.#released) return
    this.#released = true
    try {
      this.ops.release?.()
    } catch (error) {
      warnOfModel(error)
    }
  }

  #firstOpen(access: DeviceAccess, machine: object | undefined): void {
    this.#opening = true
    try {
      const dma = access.openDevice(this)
      try {
        this.#dma = dma
        this.#machine = machine
        this.ops.openDevice?.(dma, machine)
      } catch (error) {
        this.#dma = undefined
        this.#machine = undefined
        access.closeDevice(this)
        throw error
      }
      this.#access = access
    } finally {
      this.#opening = false
    }
  }

  #request(): void {
    const leaving = this.#leaving
    if (leaving === undefined) return
    clearTimeout(leaving.timer)
    leaving.timer = setTimeout(() => this.#request(), this.#requestInterval)
    leaving.timer.unref()
    const count = leaving.requests++
    try {
      this.ops.request?.(count)
    } catch (error) {
      warnOfModel(error) // its users are asked all the same
    }
    for (const user of [...this.#users]) user.requested(count)
  }

  #left(): void {
    const leaving = this.#leaving
    if (leaving === undefined) return
    clearTimeout(leaving.timer)
    this.#leaving = undefined
    this.#index = undefined
    leaving.finished()
  }
}
