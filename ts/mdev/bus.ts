/**
 * The mdev core of one machine: who offers mediated devices, which are there, and how they come and go.
 *
 * The same calls stand behind the typed form (`create`, `remove`, …) and the sysfs form (writing to `create`, `remove`,
 * …). Events tell of every coming and going.
 */
import { VfioError } from '../errors.ts'
import { record, text } from '../shape.ts'
import { oneLine, type UeventAction, writtenAction } from '../sysfs/device-node.ts'
import { baseName } from '../sysfs/path.ts'
import { MediatedDevice } from './device.ts'
import { checkName, MdevDrivers } from './drivers.ts'
import { legacyOptions, type LegacyParentOptions } from './legacy.ts'
import { MDEV_BUS, MDEV_CLASS, type MdevMachine } from './machine.ts'
import type { Mdev, MdevDriver, MdevParent, MdevType } from './model.ts'
import { checkTypes, driverOf, type MdevParentOptions } from './parent-options.ts'
import { RegisteredParent } from './parent.ts'
import { RegisteredType } from './type.ts'
import { UeventEmitter } from './uevents.ts'
import { canonicalUuid, writtenUuid } from './uuid.ts'

/** Parents, types, drivers and devices of one machine. */
export class MdevBus extends UeventEmitter {
  readonly #machine: MdevMachine
  readonly #drivers: MdevDrivers
  readonly #parents = new Map<string, RegisteredParent>()
  readonly #devices = new Map<string, MediatedDevice>()
  #closed = false

  /**
   * Made by the host only.
   * @internal
   */
  constructor(machine: MdevMachine) {
    super()
    this.#machine = machine
    this.#drivers = new MdevDrivers(machine, (driver, uuid) => this.#unbind(driver, uuid))
    this.#show()
  }

  /** Registered parents, by name. */
  get parents(): readonly MdevParent[] {
    return [...this.#parents.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** All types of all parents. */
  get types(): readonly MdevType[] {
    return this.parents.flatMap((parent) => parent.types)
  }

  /** All devices, by UUID. */
  get devices(): readonly Mdev[] {
    return [...this.#devices.values()].sort((a, b) => (a.uuid < b.uuid ? -1 : 1))
  }

  /** Registered drivers, by name. */
  get drivers(): readonly MdevDriver[] {
    return this.#drivers.list
  }

  /** The parent of that name. */
  parent(name: string): MdevParent | undefined {
    return this.#parents.get(name)
  }

  /** The device of that UUID, in whatever state. */
  get(uuid: string): Mdev | undefined {
    return this.#devices.get(text(uuid, 'uuid').toLowerCase())
  }

  /** Registers a driver (`mdev_register_driver`). Parents register theirs by themselves. @throws {VfioError} EBUSY the name is taken */
  registerDriver(driver: MdevDriver): void {
    this.#refuseClosed('mdev_register_driver')
    this.#drivers.register(driver)
  }

  /** Unregisters a driver (`mdev_unregister_driver`). @throws {VfioError} EBUSY a parent needs it */
  unregisterDriver(driver: MdevDriver): void {
    this.#drivers.unregister(driver)
  }

  /**
   * Registers a parent (`mdev_register_parent`): its types can be made into devices.
   * @throws {VfioError} EEXIST the name is taken, or two types have one; ENOENT `device` is not there; EBUSY another driver
   *   has the driver's name
   */
  registerParent(name: string, options: MdevParentOptions): MdevParent {
    this.#refuseClosed('mdev_register_parent')
    checkName(name, 'name')
    checkTypes(record(options, 'options').types)
    const driver = driverOf(name, options)
    const { types, attributes } = options
    const device =
      options.device === undefined ? undefined : this.#machine.sysfs.resolve(text(options.device, 'options.device'))
    if (this.#parents.has(name) || (device !== undefined && this.parents.some((parent) => parent.path === device))) {
      throw new VfioError('EEXIST', 'mdev_register_parent', { reason: `${device ?? name} is a parent already` })
    }
    return this.#register(
      new RegisteredParent({ name, driver, types, device, attributes }, this.#machine, this.#listener),
    )
  }

  /**
   * Registers a parent in the manner of the older text (`mdev_register_device` with `struct mdev_parent_ops`).
   * @throws {VfioError} as {@link registerParent}
   */
  registerLegacyParent(name: string, options: LegacyParentOptions): MdevParent {
    return this.registerParent(name, legacyOptions(name, record(options, 'options')))
  }

  /** Takes a parent and its devices away; the promise is fulfilled when all users have let go. */
  async unregisterParent(parent: MdevParent | string): Promise<void> {
    const name = typeof parent === 'string' ? parent : record(parent, 'parent').name
    const registered = this.#parents.get(name)
    if (registered !== undefined && (registered === parent || typeof parent === 'string')) await registered.unregister()
  }

  /**
   * Makes a device.
   *
   * @param type a type, or its id; of several parents with that id the first with an instance left makes it
   * @param uuid absent: a random one
   * @throws {VfioError} ENOENT no such type, EINVAL no UUID, EEXIST the UUID is in use, EUSERS no instance left, ENODEV the
   *   parent is going away, and what the driver refuses with
   */
  create(type: MdevType | string, uuid: string = crypto.randomUUID()): Mdev {
    this.#refuseClosed('mdev_create')
    return this.#create(this.#findType(type), canonicalUuid(text(uuid, 'uuid')))
  }

  /** Takes everything away without waiting for users (idempotent); nothing can be registered or made any more. */
  close(): void {
    this.#closed = true
    for (const parent of [...this.#parents.values()]) void parent.unregister()
  }

  /** Takes everything away. */
  [Symbol.dispose](): void {
    this.close()
  }

  #create(type: RegisteredType, uuid: string): MediatedDevice {
    if (this.#devices.has(uuid)) throw new VfioError('EEXIST', 'mdev_create', { reason: `${uuid} is in use` })
    const parent = this.#parents.get(type.parent.name)
    if (parent !== type.parent)
      throw new VfioError('ENODEV', 'mdev_create', { reason: `${type.parent.name} is not registered` })
    const mdev = new MediatedDevice(uuid, type, this.#machine, this.#listener)
    type.admit(mdev)
    try {
      parent.admit(mdev)
    } catch (refusal) {
      type.dismiss(mdev)
      throw refusal
    }
    this.#devices.set(uuid, mdev)
    mdev.appear()
    if (!parent.registered) void mdev.startRemoval(true)
    return mdev
  }

  #findType(type: MdevType | string): RegisteredType {
    if (type instanceof RegisteredType) return type
    const id = text(type, 'type')
    const found = [...this.#parents.values()].flatMap((parent) => parent.types.filter((known) => known.id === id))
    const best = found.length > 1 ? found.find((known) => known.available > 0) : undefined
    const chosen = best ?? found[0]
    if (chosen !== undefined) return chosen
    throw new VfioError('ENOENT', 'mdev_create', {
      reason: `no parent offers '${id}'`,
      remedy: `types on offer: ${this.types.map((known) => known.id).join(', ') || 'none'}`,
    })
  }

  #register(parent: RegisteredParent): MdevParent {
    this.#drivers.acquire(parent.driver)
    this.#parents.set(parent.name, parent)
    try {
      parent.appear()
    } catch (refusal) {
      void parent.unregister()
      throw refusal
    }
    return parent
  }

  #unbind(driver: MdevDriver, uuid: string): Promise<void> {
    const mdev = this.#devices.get(uuid)
    if (mdev === undefined || mdev.parent.driver !== driver)
      throw new VfioError('ENODEV', 'unbind', { reason: `'${uuid}' is not bound to ${driver.name}` })
    return mdev.detach()
  }

  /** What parents and devices report to. */
  readonly #listener = {
    create: (type: RegisteredType, written: string): void => void this.#create(type, writtenUuid(written)),
    notify: (about: Mdev | MdevParent, action: UeventAction, env: Record<string, string> = {}): void => {
      const devpath = about.path.slice('/sys'.length)
      const mdev = about instanceof MediatedDevice ? about : undefined
      const subsystem = mdev === undefined ? this.#subsystemOf(about.path) : 'mdev'
      this.notify({ action, devpath, subsystem, env, ...(mdev === undefined ? {} : { mdev }) })
    },
    vanished: (gone: RegisteredParent | MediatedDevice): void => {
      if (gone instanceof RegisteredParent) {
        this.#parents.delete(gone.name)
        this.#drivers.release(gone.driver)
      } else {
        this.#devices.delete(gone.uuid)
        gone.type.dismiss(gone)
        this.#parents.get(gone.parent.name)?.dismiss(gone)
      }
    },
  }

  #subsystemOf(path: string): string {
    const link = `${path}/subsystem`
    return this.#machine.sysfs.exists(link) ? baseName(this.#machine.sysfs.resolve(link)) : ''
  }

  /** Shows the bus and the class of parents. */
  #show(): void {
    const { sysfs } = this.#machine
    for (const directory of [`${MDEV_BUS}/devices`, `${MDEV_BUS}/drivers`, MDEV_CLASS]) sysfs.dir(directory)
    let autoprobe = '1'
    sysfs.attr(`${MDEV_BUS}/drivers_autoprobe`, {
      mode: 0o644,
      show: () => `${autoprobe}\n`,
      store: (written) => void (autoprobe = written.startsWith('0') ? '0' : '1'),
    })
    sysfs.attr(`${MDEV_BUS}/drivers_probe`, {
      mode: 0o200,
      store: (written) => this.#probe(oneLine(written)),
    })
    sysfs.attr(`${MDEV_BUS}/uevent`, {
      mode: 0o200,
      store: (written) => void writtenAction(written, `${MDEV_BUS}/uevent`),
    })
  }

  /** Looks for a driver for a device by name: none matches by itself. @throws {VfioError} ENODEV no such device */
  #probe(uuid: string): void {
    if (!this.#devices.has(uuid))
      throw new VfioError('ENODEV', 'write', { path: `${MDEV_BUS}/drivers_probe`, reason: `no device '${uuid}'` })
  }

  #refuseClosed(operation: string): void {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the machine is closed' })
  }
}
