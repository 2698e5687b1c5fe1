/**
 * Binding functions to drivers: who matches, who probes, who lets go, and the group's say in it.
 *
 * Unbinding waits for users in the kernel, with the writer of `unbind` asleep. Nothing can sleep here: `unbind` returns
 * at once, the function counts as bound until its last user has closed it, and until then nobody can bind it anew.
 */
import { VfioError } from '../errors.ts'
import { oneLine } from '../sysfs/device-node.ts'
import type { SysfsAttribute } from '../sysfs/node.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import type { PciDevice } from './device.ts'
import { PciDriver, type PciDriverOps } from './driver.ts'
import { functionOfId, parseIdText, scanHex } from './id-table.ts'

/** What driver core asks of the topology. */
export interface EnumeratedFunctions {
  /** All functions, in enumeration order. */
  all(): PciDevice[]
  /** The function of that name. */
  named(name: string): PciDevice | undefined
}

/** The drivers of the bus and what they are bound to. */
export class DriverCore {
  /** Functions are offered to drivers when one of either is new. */
  autoprobe = true
  readonly #sysfs: SysfsTree
  readonly #functions: EnumeratedFunctions
  readonly #drivers = new Map<string, PciDriver>()
  readonly #leaving = new Map<PciDevice, (() => void)[]>()

  constructor(sysfs: SysfsTree, functions: EnumeratedFunctions) {
    this.#sysfs = sysfs
    this.#functions = functions
  }

  /** The drivers, in the order of their registration. */
  get drivers(): PciDriver[] {
    return [...this.#drivers.values()]
  }

  /** The driver of that name. */
  driver(name: string): PciDriver | undefined {
    return this.#drivers.get(name)
  }

  /** Registers a driver and offers it the functions without one. @throws {VfioError} EBUSY the name is taken */
  register(ops: PciDriverOps): PciDriver {
    if (this.#drivers.has(ops.name))
      throw new VfioError('EBUSY', 'pci_register_driver', { reason: `${ops.name} is registered already` })
    const driver = new PciDriver(ops)
    this.#drivers.set(ops.name, driver)
    this.#show(driver)
    if (this.autoprobe) this.#offerAll(driver)
    return driver
  }

  /** Offers a function to the drivers, the first that takes it wins. Tells whether one did. */
  attach(device: PciDevice): boolean {
    if (device.boundTo) return true
    return this.drivers.some(
      (driver) => driver.matches(device.header, device.driverOverride) && this.#tried(driver, device),
    )
  }

  /**
   * Binds a function to a driver that matches it.
   * @throws {VfioError} ENODEV it does not match, EBUSY it is bound or the group is in use, and what the driver refuses with
   */
  bind(driver: PciDriver, device: PciDevice | undefined): void {
    if (!device || !driver.matches(device.header, device.driverOverride)) {
      throw new VfioError('ENODEV', 'bind', {
        path: `${driver.path}/bind`,
        reason: device ? `${driver.name} is not for ${device.name}` : 'no such device',
        ...(device
          ? { remedy: `write its ids to ${driver.path}/new_id, or ${driver.name} to its driver_override` }
          : {}),
      })
    }
    this.#probe(driver, device)
  }

  /** Takes a function from its driver; `done` runs when it has let go, which may be at once. */
  unbind(device: PciDevice, done: () => void = () => {}): void {
    const driver = device.boundTo && this.#drivers.get(device.boundTo.name)
    if (!driver) return done()
    const waiting = this.#leaving.get(device)
    if (waiting) {
      waiting.push(done)
      return
    }
    this.#leaving.set(device, [done])
    const finish = () => this.#released(driver, device)
    if (driver.ops.remove) driver.ops.remove(device, finish)
    else finish()
  }

  /** Tells whether a function is on its way out of its driver. */
  isLeaving(device: PciDevice): boolean {
    return this.#leaving.has(device)
  }

  /** `new_id`: adds an id to a driver and offers it the functions without one. @throws {VfioError} EINVAL, EEXIST */
  addId(driver: PciDriver, text: string): void {
    const path = `${driver.path}/new_id`
    const id = parseIdText(text)
    if (!id) throw new VfioError('EINVAL', 'write', { path, reason: 'vendor and device are wanted, in hexadecimal' })
    const numbers = scanHex(text, 7)
    if (numbers.length !== 7 && driver.matches(functionOfId(id), undefined)) {
      throw new VfioError('EEXIST', 'write', { path, reason: `${driver.name} takes such functions already` })
    }
    if ((driver.ops.ids?.length ?? 0) > 0 && (numbers[6] ?? 0n) !== 0n) {
      throw new VfioError('EINVAL', 'write', { path, reason: 'no entry of the driver has such driver data' })
    }
    driver.addDynamic(id)
    this.#offerAll(driver)
  }

  /** `remove_id`. @throws {VfioError} EINVAL, ENODEV */
  removeId(driver: PciDriver, text: string): void {
    const id = parseIdText(text)
    if (!id)
      throw new VfioError('EINVAL', 'write', {
        path: `${driver.path}/remove_id`,
        reason: 'vendor and device are wanted',
      })
    driver.removeDynamic(id)
  }

  #offerAll(driver: PciDriver): void {
    for (const device of this.#functions.all()) {
      if (!device.boundTo && driver.matches(device.header, device.driverOverride)) this.#tried(driver, device)
    }
  }

  #tried(driver: PciDriver, device: PciDevice): boolean {
    try {
      this.#probe(driver, device)
      return true
    } catch (error) {
      if (error instanceof VfioError) return false
      throw error
    }
  }

  #probe(driver: PciDriver, device: PciDevice): void {
    if (device.gone) throw new VfioError('ENODEV', 'bind', { reason: `${device.name} has gone` })
    if (device.boundTo) {
      throw new VfioError('EBUSY', 'bind', {
        reason: `${device.name} ${this.isLeaving(device) ? 'is still leaving' : 'is bound to'} ${device.boundTo.name}`,
        remedy: this.isLeaving(device) ? 'close it' : `write ${device.name} to ${device.path}/driver/unbind`,
      })
    }
    const usesDma = !driver.managesDma && device.group !== undefined
    if (usesDma) device.group?.useDefaultDomain()
    try {
      device.boundTo = driver
      driver.ops.probe?.(device)
    } catch (error) {
      device.boundTo = undefined
      if (usesDma) device.group?.unuseDefaultDomain()
      throw error
    }
    if (enables(driver)) device.enableCount++
    this.#sysfs.link(`${device.path}/driver`, driver.path)
    this.#sysfs.link(`${driver.path}/${device.name}`, device.path)
  }

  #released(driver: PciDriver, device: PciDevice): void {
    const waiting = this.#leaving.get(device)
    if (!waiting) return
    this.#leaving.delete(device)
    this.#sysfs.remove(`${device.path}/driver`)
    this.#sysfs.remove(`${driver.path}/${device.name}`)
    device.boundTo = undefined
    if (enables(driver) && device.enableCount > 0) device.enableCount--
    if (!driver.managesDma) device.group?.unuseDefaultDomain()
    for (const done of waiting) done()
  }

  #show(driver: PciDriver): void {
    const store = (name: string, fn: NonNullable<SysfsAttribute['store']>) =>
      this.#sysfs.attr(`${driver.path}/${name}`, { mode: 0o200, store: fn })
    const named = (text: string) => this.#functions.named(oneLine(text))
    store('bind', (text) => this.bind(driver, named(text)))
    store('unbind', (text) => {
      const device = named(text)
      if (device?.boundTo !== driver) {
        throw new VfioError('ENODEV', 'write', {
          path: `${driver.path}/unbind`,
          reason: `no such device is bound to ${driver.name}`,
        })
      }
      const released = new Promise<void>((resolve) => this.unbind(device, resolve))
      return this.isLeaving(device) ? released : undefined
    })
    store('new_id', (text) => this.addId(driver, text))
    store('remove_id', (text) => this.removeId(driver, text))
    store('uevent', () => {})
  }
}

/** Tells whether a driver enables its functions as soon as it has them. */
function enables(driver: PciDriver): boolean {
  return !driver.managesDma || driver.name === 'pcieport'
}
