/** A parent: the types it offers, the devices made from it, and its way out. */
import { VfioError } from '../errors.ts'
import { addDeviceNode, type UeventAction } from '../sysfs/device-node.ts'
import { addAttributeGroups, removeAttributeGroups } from './attributes.ts'
import type { MediatedDevice } from './device.ts'
import { MDEV_CLASS, type MdevMachine } from './machine.ts'
import type { Mdev, MdevAttributeGroups, MdevDriver, MdevParent, MdevTypeDescription } from './model.ts'
import { RegisteredType } from './type.ts'

/** What a parent is made of. */
export interface ParentDescription {
  name: string
  driver: MdevDriver
  types: readonly MdevTypeDescription[]
  /** Directory of a device that is there already; absent: a virtual device of the parent's own. */
  device?: string | undefined
  /** Attributes of the parent itself. */
  attributes?: MdevAttributeGroups<MdevParent> | undefined
}

/** What a parent tells the bus. */
export interface ParentListener {
  /** Something was written to `create` of a type. @throws {VfioError} */
  create(type: RegisteredType, text: string): void
  /** Something happened to the parent's own device. */
  notify(parent: MdevParent, action: UeventAction, env: Record<string, string>): void
  /** The parent and its devices are gone. */
  vanished(parent: RegisteredParent): void
}

/** A registered parent. */
export class RegisteredParent implements MdevParent {
  readonly name: string
  readonly driver: MdevDriver
  readonly path: string
  readonly types: readonly RegisteredType[]
  readonly #machine: MdevMachine
  readonly #listener: ParentListener
  readonly #attributes: MdevAttributeGroups<MdevParent>
  /** The class of a virtual device, which lives and dies with the parent. */
  readonly #class: string | undefined
  readonly #devices = new Map<string, MediatedDevice>()
  #leaving: Promise<void> | undefined
  /** Fulfils `#leaving`; undefined before and after. */
  #left: (() => void) | undefined

  constructor(description: ParentDescription, machine: MdevMachine, listener: ParentListener) {
    const { name, driver, device } = description
    this.name = name
    this.driver = driver
    this.#class = device === undefined ? driver.name : undefined
    this.path = device ?? `/sys/devices/virtual/${driver.name}/${name}`
    this.#attributes = description.attributes ?? {}
    this.#machine = machine
    this.#listener = listener
    this.types = description.types.map((type) => new RegisteredType(this, type))
  }

  get devices(): readonly Mdev[] {
    return [...this.#devices.values()].sort((a, b) => (a.uuid < b.uuid ? -1 : 1))
  }

  /** Whether it can make devices. */
  get registered(): boolean {
    return this.#leaving === undefined
  }

  type(id: string): RegisteredType | undefined {
    return this.types.find((type) => type.id === id) ?? this.types.find((type) => type.name === id)
  }

  /** Shows the parent and its types. */
  appear(): void {
    const { sysfs } = this.#machine
    if (this.#class !== undefined) this.#showDevice(this.#class)
    addAttributeGroups<MdevParent>(sysfs, this.path, this.#attributes, this)
    sysfs.dir(`${this.path}/mdev_supported_types`)
    for (const type of this.types) type.show(sysfs, (text) => this.#listener.create(type, text))
    sysfs.link(`${MDEV_CLASS}/${this.name}`, this.path)
    this.#notify('change', { MDEV_STATE: 'registered' })
  }

  /** Takes a device in. @throws {VfioError} ENODEV the parent is going away */
  admit(mdev: MediatedDevice): void {
    if (!this.registered) throw new VfioError('ENODEV', 'mdev_create', { reason: `${this.name} is going away` })
    this.#devices.set(mdev.uuid, mdev)
  }

  /** Lets a device go; the last one takes a parent that is leaving with it. */
  dismiss(mdev: Mdev): void {
    this.#devices.delete(mdev.uuid)
    if (!this.registered && this.#devices.size === 0) this.#vanish()
  }

  unregister(): Promise<void> {
    if (this.#leaving !== undefined) return this.#leaving
    this.#leaving = new Promise<void>((resolve) => (this.#left = resolve))
    this.#machine.sysfs.remove(`${MDEV_CLASS}/${this.name}`)
    for (const mdev of [...this.#devices.values()]) if (mdev.state === 'active') void mdev.startRemoval(true)
    if (this.#devices.size === 0) this.#vanish()
    return this.#leaving
  }

  /** Takes the parent's part of the tree away, once. */
  #vanish(): void {
    const left = this.#left
    if (left === undefined) return
    this.#left = undefined
    const { sysfs } = this.#machine
    sysfs.remove(`${this.path}/mdev_supported_types`)
    removeAttributeGroups(sysfs, this.path, this.#attributes)
    this.#notify('change', { MDEV_STATE: 'unregistered' })
    if (this.#class !== undefined) this.#hideDevice(this.#class)
    this.#listener.vanished(this)
    left()
  }

  #showDevice(className: string): void {
    const { sysfs } = this.#machine
    sysfs.link(`/sys/class/${className}/${this.name}`, this.path)
    addDeviceNode(sysfs, {
      path: this.path,
      subsystem: `/sys/class/${className}`,
      env: () => ({}),
      notify: (action) => this.#notify(action),
    })
    this.#notify('add')
  }

  #hideDevice(className: string): void {
    const { sysfs } = this.#machine
    sysfs.remove(this.path)
    sysfs.remove(`/sys/class/${className}/${this.name}`)
    for (const directory of [`/sys/class/${className}`, `/sys/devices/virtual/${className}`]) {
      if (sysfs.exists(directory) && sysfs.list(directory).length === 0) sysfs.remove(directory)
    }
    this.#notify('remove')
  }

  #notify(action: UeventAction, env: Record<string, string> = {}): void {
    this.#listener.notify(this, action, env)
  }
}
