/** Drivers on the mdev bus, and their directories under `/sys/bus/mdev/drivers`. */
import { invalidArgType, invalidArgValue, VfioError } from '../errors.ts'
import { record } from '../shape.ts'
import { oneLine, writtenAction } from '../sysfs/device-node.ts'
import { MDEV_BUS, type MdevMachine } from './machine.ts'
import type { MdevDriver } from './model.ts'

/** A driver and how long it stays. */
interface Entry {
  driver: MdevDriver
  /** Parents that make devices for it. */
  parents: number
  /** Registered by a parent, it leaves with its last one. */
  implicit: boolean
}

/** The drivers of one machine. */
export class MdevDrivers {
  readonly #machine: MdevMachine
  readonly #unbind: (driver: MdevDriver, device: string) => Promise<void>
  readonly #entries = new Map<string, Entry>()

  /** `unbind` takes what was written to the attribute of that name. */
  constructor(machine: MdevMachine, unbind: (driver: MdevDriver, device: string) => Promise<void>) {
    this.#machine = machine
    this.#unbind = unbind
  }

  /** Registered drivers, by name. */
  get list(): readonly MdevDriver[] {
    return [...this.#entries.values()].map((entry) => entry.driver).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Registers a driver. @throws {VfioError} EBUSY the name is taken */
  register(driver: MdevDriver, implicit = false): void {
    checkName(record(driver, 'driver').name, 'driver.name')
    if (typeof driver.probe !== 'function') throw invalidArgType('driver.probe', 'a function', driver.probe)
    if (this.#entries.has(driver.name)) {
      throw new VfioError('EBUSY', 'mdev_register_driver', {
        reason: `a driver '${driver.name}' is registered`,
        remedy: 'pass the same driver object to each parent',
      })
    }
    this.#entries.set(driver.name, { driver, parents: 0, implicit })
    this.#show(driver)
  }

  /** Unregisters a driver; one that is not registered is none. @throws {VfioError} EBUSY a parent needs it */
  unregister(driver: MdevDriver): void {
    const entry = this.#entries.get(record(driver, 'driver').name)
    if (entry?.driver !== driver) return
    if (entry.parents > 0) {
      throw new VfioError('EBUSY', 'mdev_unregister_driver', {
        reason: `${entry.parents} parents need '${driver.name}'`,
        remedy: 'unregister them first',
      })
    }
    this.#hide(driver)
  }

  /** A parent begins to use a driver, which is registered for it where it is not yet. @throws {VfioError} EBUSY */
  acquire(driver: MdevDriver): void {
    if (this.#entries.get(driver.name)?.driver !== driver) this.register(driver, true)
    const entry = this.#entries.get(driver.name)
    if (entry !== undefined) entry.parents++
  }

  /** A parent no longer needs a driver. */
  release(driver: MdevDriver): void {
    const entry = this.#entries.get(driver.name)
    if (entry?.driver !== driver) return
    entry.parents--
    if (entry.implicit && entry.parents === 0) this.#hide(driver)
  }

  #show(driver: MdevDriver): void {
    const { sysfs } = this.#machine
    const path = `${MDEV_BUS}/drivers/${driver.name}`
    const module = `/sys/module/${driver.name}`
    sysfs.attr(`${path}/bind`, {
      mode: 0o200,
      store: () => {
        throw new VfioError('ENODEV', 'write', {
          path: `${path}/bind`,
          reason: 'mediated devices are bound when they are made',
        })
      },
    })
    sysfs.attr(`${path}/unbind`, { mode: 0o200, store: (text) => this.#unbind(driver, oneLine(text)) })
    sysfs.attr(`${path}/uevent`, { mode: 0o200, store: (text) => void writtenAction(text, `${path}/uevent`) })
    sysfs.link(`${path}/module`, module)
    sysfs.link(`${module}/drivers/mdev:${driver.name}`, path)
  }

  #hide(driver: MdevDriver): void {
    this.#entries.delete(driver.name)
    this.#machine.sysfs.remove(`${MDEV_BUS}/drivers/${driver.name}`)
    this.#machine.sysfs.remove(`/sys/module/${driver.name}`)
  }
}

/** Checks a name that becomes one in sysfs. @throws {TypeError} */
export function checkName(name: unknown, what: string): asserts name is string {
  if (typeof name !== 'string') throw invalidArgType(what, 'a string', name)
  if (!/^[^/\0]+$/.test(name) || name === '.' || name === '..')
    throw invalidArgValue(what, 'must be a name without slashes')
}
