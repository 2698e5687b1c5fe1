/** A type under its parent: how many devices it has left, and its directory in `mdev_supported_types`. */
import { VfioError } from '../errors.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import { addAttribute } from './attributes.ts'
import type { Mdev, MdevAttributes, MdevParent, MdevType, MdevTypeDescription } from './model.ts'

const UNLIMITED = 0x7fff_ffff

/** A registered type. */
export class RegisteredType implements MdevType {
  readonly id: string
  readonly name: string
  readonly prettyName: string
  readonly parent: MdevParent
  readonly data: unknown
  readonly #instances: number
  readonly #attributes: MdevAttributes<MdevType>
  readonly #devices = new Map<string, Mdev>()

  constructor(parent: MdevParent, description: MdevTypeDescription) {
    this.parent = parent
    this.name = description.name
    this.prettyName = description.prettyName ?? description.name
    this.id = `${parent.driver.name}-${description.name}`
    this.data = description.data
    this.#instances = description.instances ?? UNLIMITED
    this.#attributes = description.attributes ?? standardAttributes(parent)
  }

  get path(): string {
    return `${this.parent.path}/mdev_supported_types/${this.id}`
  }

  get deviceApi(): string {
    return this.parent.driver.deviceApi ?? 'vfio-pci'
  }

  get available(): number {
    const { driver, devices } = this.parent
    if (driver.getAvailable !== undefined) return driver.getAvailable(this)
    const ofParent = (driver.maxInstances ?? UNLIMITED) - devices.length
    return Math.max(0, Math.min(this.#instances - this.#devices.size, ofParent))
  }

  get devices(): readonly Mdev[] {
    return [...this.#devices.values()].sort((a, b) => (a.uuid < b.uuid ? -1 : 1))
  }

  /**
   * Counts a device in. Drivers that count themselves refuse in their probe.
   * @throws {VfioError} EUSERS no instance is left
   */
  admit(mdev: Mdev): void {
    if (this.parent.driver.getAvailable === undefined && this.available === 0) {
      throw new VfioError('EUSERS', 'mdev_create', {
        reason: `${this.id} has no instance left`,
        remedy: 'remove a device of that parent first',
      })
    }
    this.#devices.set(mdev.uuid, mdev)
  }

  /** Counts a device out. */
  dismiss(mdev: Mdev): void {
    this.#devices.delete(mdev.uuid)
  }

  /** Shows the type; `create` takes what is written to its attribute of that name. */
  show(sysfs: SysfsTree, create: (text: string) => void): void {
    sysfs.dir(`${this.path}/devices`)
    sysfs.attr(`${this.path}/create`, { mode: 0o200, store: create })
    for (const [name, attribute] of Object.entries(this.#attributes)) {
      addAttribute(sysfs, `${this.path}/${name}`, attribute, this)
    }
  }
}

function standardAttributes({ driver }: MdevParent): MdevAttributes<MdevType> {
  const description: MdevAttributes<MdevType> =
    driver.showDescription === undefined
      ? {}
      : { description: { show: (type) => driver.showDescription?.(type) ?? '' } }
  return {
    name: { show: (type) => `${type.prettyName}\n` },
    available_instances: { show: (type) => `${type.available}\n` },
    device_api: { show: (type) => `${type.deviceApi}\n` },
    ...description,
  }
}
