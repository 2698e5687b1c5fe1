/**
 * A mediated device from its creation to its end: its directory, its driver's probe and remove, its registration with VFIO.
 *
 * Removal is asynchronous where the device is open: the kernel's writer of `remove` sleeps until the user lets go; here
 * the removal goes on by itself, and whoever wants to wait has the promise of {@link MediatedDevice.remove}.
 */
import type { VfioDeviceOps } from '../device/ops.ts'
import { VfioDevice } from '../device/vfio-device.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import type { VfioGroup } from '../group/vfio-group.ts'
import { addDeviceNode, type UeventAction } from '../sysfs/device-node.ts'
import { parseNumber } from '../sysfs/number.ts'
import { addAttributeGroups, removeAttributeGroups } from './attributes.ts'
import { MDEV_BUS, type MdevMachine } from './machine.ts'
import type { Mdev, MdevModel, MdevParent } from './model.ts'
import type { RegisteredType } from './type.ts'

/** What a device tells the bus. */
export interface DeviceListener {
  /** Something happened to the device. */
  notify(mdev: Mdev, action: UeventAction): void
  /** The device is gone. */
  vanished(mdev: MediatedDevice): void
}

/** A device and its driver while they are bound. */
interface Binding {
  readonly ops: VfioDeviceOps
  readonly device: VfioDevice
  readonly group: VfioGroup
}

/** A mediated device. */
export class MediatedDevice implements Mdev {
  readonly uuid: string
  readonly type: RegisteredType
  driverData: unknown
  readonly #machine: MdevMachine
  readonly #listener: DeviceListener
  #state: Mdev['state'] = 'creating'
  #binding: Binding | undefined
  /** Who waits for the end of an unbinding that has begun. */
  #unbinding: ((failure?: { cause: unknown }) => void)[] | undefined
  #removal: Promise<void> | undefined

  constructor(uuid: string, type: RegisteredType, machine: MdevMachine, listener: DeviceListener) {
    this.uuid = uuid
    this.type = type
    this.#machine = machine
    this.#listener = listener
  }

  get parent(): MdevParent {
    return this.type.parent
  }

  get path(): string {
    return `${this.parent.path}/${this.uuid}`
  }

  get state(): Mdev['state'] {
    return this.#state
  }

  get group(): VfioGroup | undefined {
    return this.#binding?.group
  }

  get vfio(): VfioDevice | undefined {
    return this.#binding?.device
  }

  get ops(): VfioDeviceOps | undefined {
    return this.#binding?.ops
  }

  /** Shows the device and binds its driver; what the driver refuses with leaves nothing behind. @throws {VfioError} */
  appear(): void {
    const { sysfs } = this.#machine
    addDeviceNode(sysfs, {
      path: this.path,
      subsystem: MDEV_BUS,
      env: () => (this.#binding === undefined ? {} : { DRIVER: this.parent.driver.name }),
      notify: (action) => this.#listener.notify(this, action),
    })
    sysfs.attr(`${this.path}/remove`, { mode: 0o200, store: (text) => this.#storeRemove(text) })
    sysfs.link(`${MDEV_BUS}/devices/${this.uuid}`, this.path)
    this.#listener.notify(this, 'add')
    try {
      this.#bind()
    } catch (refusal) {
      this.#vanish()
      throw refusal
    }
    sysfs.link(`${this.type.path}/devices/${this.uuid}`, this.path)
    sysfs.link(`${this.path}/mdev_type`, this.type.path)
    this.#state = 'active'
  }

  remove(): Promise<void> {
    if (this.#state === 'removed') return Promise.resolve()
    if (this.#removal !== undefined) return this.#removal
    try {
      return this.startRemoval()
    } catch (refusal) {
      return Promise.reject(refusal)
    }
  }

  /**
   * Begins the removal and returns its promise, which nobody has to wait for.
   * @param forced the parent goes: the driver is told, and cannot refuse
   * @throws {VfioError} EAGAIN still being made, ENODEV on its way out already, and what the driver refuses with
   */
  startRemoval(forced = false): Promise<void> {
    if (this.#state === 'creating')
      throw new VfioError('EAGAIN', 'mdev_remove', { reason: `${this.uuid} is being made` })
    if (this.#state !== 'active')
      throw new VfioError('ENODEV', 'mdev_remove', { reason: `${this.uuid} is being removed` })
    this.#state = 'removing'
    try {
      this.parent.driver.removing?.(this)
    } catch (refusal) {
      if (!forced) {
        this.#state = 'active'
        throw refusal
      }
    }
    const { sysfs } = this.#machine
    sysfs.remove(`${this.path}/remove`)
    sysfs.remove(`${this.path}/mdev_type`)
    sysfs.remove(`${this.type.path}/devices/${this.uuid}`)
    const removal = new Promise<void>((resolve, reject) => {
      this.#unbind((failure) => {
        this.#vanish()
        if (failure === undefined) resolve()
        else reject(failure.cause)
      })
    })
    removal.catch(() => {}) // nobody has to wait
    this.#removal = removal
    return removal
  }

  /**
   * Takes the driver off the device, which stays (the driver's attribute `unbind`); users are asked to let go first, and the
   * promise is fulfilled when they have.
   * @throws {VfioError} ENODEV no driver is bound
   */
  detach(): Promise<void> {
    if (this.#binding === undefined || this.#unbinding !== undefined)
      throw new VfioError('ENODEV', 'unbind', { reason: `${this.uuid} has no driver` })
    return new Promise((resolve) => this.#unbind(() => resolve()))
  }

  #bind(): void {
    const { driver } = this.parent
    const { sysfs, registry } = this.#machine
    const attributes = driver.deviceAttributes ?? {}
    const probed = driver.probe(this)
    let device: VfioDevice | undefined
    try {
      const ops = callbacksOf(probed, this.uuid)
      device = new VfioDevice(this.uuid, ops, { path: this.path })
      this.#binding = { ops, device, group: registry.registerEmulatedIommuDev(device) }
      addAttributeGroups<Mdev>(sysfs, this.path, attributes, this)
    } catch (refusal) {
      this.#letGo(device)
      throw refusal
    }
    sysfs.link(`${this.path}/driver`, `${MDEV_BUS}/drivers/${driver.name}`)
    sysfs.link(`${MDEV_BUS}/drivers/${driver.name}/${this.uuid}`, this.path)
    this.#listener.notify(this, 'bind')
  }

  /** Undoes a probe, half done as it may be. */
  #letGo(device: VfioDevice | undefined): void {
    const { driver } = this.parent
    removeAttributeGroups(this.#machine.sysfs, this.path, driver.deviceAttributes ?? {})
    if (device !== undefined && this.#binding !== undefined) this.#machine.registry.unregisterGroupDev(device)
    this.#binding = undefined
    try {
      driver.remove?.(this)
    } finally {
      device?.put()
    }
  }

  /** Unregisters the device; `finished` runs when its users have let go, with what the driver's `remove` threw. */
  #unbind(finished: (failure?: { cause: unknown }) => void): void {
    const binding = this.#binding
    if (binding === undefined) return finished()
    if (this.#unbinding !== undefined) return void this.#unbinding.push(finished)
    const waiting = (this.#unbinding = [finished])
    const { sysfs, registry } = this.#machine
    const { driver } = this.parent
    registry.unregisterGroupDev(binding.device, () => {
      let failure: { cause: unknown } | undefined
      this.#binding = undefined
      this.#unbinding = undefined
      removeAttributeGroups(sysfs, this.path, driver.deviceAttributes ?? {})
      sysfs.remove(`${this.path}/driver`)
      sysfs.remove(`${MDEV_BUS}/drivers/${driver.name}/${this.uuid}`)
      try {
        driver.remove?.(this)
        binding.device.put()
      } catch (cause) {
        failure = { cause }
      }
      this.#listener.notify(this, 'unbind')
      for (const wake of waiting) wake(failure)
    })
  }

  #vanish(): void {
    this.#state = 'removed'
    this.#machine.sysfs.remove(`${MDEV_BUS}/devices/${this.uuid}`)
    this.#machine.sysfs.remove(this.path)
    this.#listener.notify(this, 'remove')
    this.#listener.vanished(this)
  }

  #storeRemove(text: string): Promise<void> | undefined {
    let wanted: bigint
    try {
      wanted = parseNumber(text, `${this.path}/remove`)
    } catch (cause) {
      throw new VfioError('EINVAL', 'write', { path: `${this.path}/remove`, cause })
    }
    return wanted === 0n ? undefined : this.startRemoval()
  }
}

/** Gives the callbacks that a probe gave, itself or through a model. @throws {TypeError} neither */
function callbacksOf(probed: VfioDeviceOps | MdevModel, name: string): VfioDeviceOps {
  const ops = isModel(probed) ? probed.vfioDevice(name) : probed
  if (typeof ops !== 'object' || ops === null || typeof ops.getInfo !== 'function') {
    throw invalidArgType('probe()', 'a function that returns a device model or the callbacks of a VFIO device', ops)
  }
  return ops
}

function isModel(probed: VfioDeviceOps | MdevModel): probed is MdevModel {
  return typeof probed === 'object' && probed !== null && 'vfioDevice' in probed
}
