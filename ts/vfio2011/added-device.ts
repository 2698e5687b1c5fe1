/** A device that the core of 2011 knows, from `addDev` to `delDev`, bound to its driver or not. */
import { VfioDevice } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import type { DeviceOps, MachineDevice } from './device-ops.ts'

/** A driver's data and the device's users, while it is bound. */
interface Binding {
  readonly data: unknown
  readonly users: VfioDevice
}

/** A device of a group. */
export class AddedDevice {
  readonly device: MachineDevice
  readonly ops: DeviceOps<unknown>
  readonly #requestInterval: number
  #binding: Binding | undefined

  constructor(device: MachineDevice, ops: DeviceOps<unknown>, requestInterval: number) {
    this.device = device
    this.ops = ops
    this.#requestInterval = requestInterval
  }

  /** Whether a driver is bound, and not about to leave. */
  get available(): boolean {
    return this.#binding?.users.registered ?? false
  }

  /** Whether a driver is bound. */
  get bound(): boolean {
    return this.#binding !== undefined
  }

  /** Tells whether what a user asked for describes the device. */
  matches(name: string): boolean {
    return this.ops.match === undefined ? this.device.name === name : this.ops.match(this.device, name) === true
  }

  /** A driver binds it with its data. @throws {VfioError} EBUSY one is bound */
  bind(data: unknown): void {
    const { ops, device } = this
    if (this.#binding !== undefined)
      throw new VfioError('EBUSY', 'vfio_bind_dev', { reason: `${device.name} is bound already` })
    const users = new VfioDevice(
      device.name,
      {
        name: ops.name ?? device.name,
        openDevice: (dma) => {
          if (ops.open === undefined) throw new VfioError('EINVAL', 'open', { reason: 'the driver has no open' })
          ops.open(data, dma)
        },
        closeDevice: () => ops.release?.(data),
        getInfo: unasked,
        getRegionInfo: unasked,
        getIrqInfo: unasked,
        setIrqs: unasked,
      },
      { requestInterval: this.#requestInterval },
    )
    users.enter(0)
    this.#binding = { data, users }
  }

  /**
   * The driver leaves: `finished` gets its data when nobody has the device open any more. Until then its users are asked to let go.
   * @throws {VfioError} ENODEV none is bound, EBUSY it is leaving already
   */
  unbind(finished: (data: unknown) => void): void {
    const binding = this.#binding
    const refuse = (code: 'ENODEV' | 'EBUSY', reason: string) =>
      new VfioError(code, 'vfio_unbind_dev', { reason: `${this.device.name} ${reason}` })
    if (binding === undefined) throw refuse('ENODEV', 'is not bound')
    if (!binding.users.registered) throw refuse('EBUSY', 'is being unbound')
    binding.users.leave(() => {
      this.#binding = undefined
      finished(binding.data)
    })
  }

  /** The users of the device and the driver's data. @throws {VfioError} ENODEV no driver is bound */
  require(operation: string): Binding {
    if (this.#binding !== undefined) return this.#binding
    throw new VfioError('ENODEV', operation, { reason: `${this.device.name} is not bound` })
  }
}

function unasked(): never {
  throw new VfioError('ENOTTY', 'ioctl')
}
