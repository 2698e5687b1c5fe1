/** Drivers of PCI functions: what the bus asks of one, and those of the host that only hold a function. */
import { VfioError } from '../errors.ts'
import { EXPRESS_TYPE } from './config-layout.ts'
import type { BoundDriver, PciDevice } from './device.ts'
import { fullId, type FullDeviceId, type IdentifiedFunction, matchesId, type PciDeviceId } from './id-table.ts'

/** A driver as it is registered with the bus. */
export interface PciDriverOps {
  readonly name: string
  /** Functions that it is for. */
  readonly ids?: readonly PciDeviceId[]
  /** It leaves the DMA of its functions to others (`driver_managed_dma`); default false: it does DMA itself. */
  readonly managesDma?: boolean
  /** Takes a function. @throws {VfioError} refuses it */
  probe?(device: PciDevice): void
  /**
   * Lets a function go: calls `done` when it has, which may be later, when the last user has closed it.
   * Absent: it has at once.
   */
  remove?(device: PciDevice, done: () => void): void
}

/** A registered driver with the ids that were added to it. */
export class PciDriver implements BoundDriver {
  readonly ops: PciDriverOps
  /** The built-in table; grows where the host's own drivers are concerned. */
  readonly #table: FullDeviceId[]
  #dynamic: FullDeviceId[] = []

  constructor(ops: PciDriverOps) {
    this.ops = ops
    this.#table = (ops.ids ?? []).map(fullId)
  }

  /** Name on the bus. */
  get name(): string {
    return this.ops.name
  }

  /** It leaves the DMA of its functions to others. */
  get managesDma(): boolean {
    return this.ops.managesDma ?? false
  }

  /** Directory in sysfs. */
  get path(): string {
    return `/sys/bus/pci/drivers/${this.name}`
  }

  /** Tells whether the driver is for a function. `override` is the function's `driver_override`. */
  matches(fn: IdentifiedFunction, override: string | undefined): boolean {
    if (override !== undefined && override !== this.name) return false
    if (override !== undefined) return true
    if (this.#dynamic.some((id) => matchesId(id, fn))) return true
    return this.#table.some((id) => !id.overrideOnly && matchesId(id, fn))
  }

  /** Adds an entry to the built-in table. */
  extendTable(id: PciDeviceId): void {
    const entry = fullId(id)
    if (!this.#table.some((known) => sameId(known, entry))) this.#table.push(entry)
  }

  /** Adds an entry through `new_id`. */
  addDynamic(id: FullDeviceId): void {
    this.#dynamic.push(id)
  }

  /** Takes entries that were added away. @throws {VfioError} ENODEV there is none like it */
  removeDynamic(id: FullDeviceId): void {
    const found = this.#dynamic.find(
      (known) =>
        known.vendor === id.vendor &&
        known.device === id.device &&
        (id.subvendor === 0xffff_ffff || known.subvendor === id.subvendor) &&
        (id.subdevice === 0xffff_ffff || known.subdevice === id.subdevice) &&
        ((known.classCode ^ id.classCode) & id.classMask) === 0,
    )
    if (!found)
      throw new VfioError('ENODEV', 'write', { path: `${this.path}/remove_id`, reason: 'no such id was added' })
    this.#dynamic = this.#dynamic.filter((known) => known !== found)
  }
}

/** The driver that takes any function it is told to and does nothing with it. */
export const pciStub: PciDriverOps = { name: 'pci-stub', managesDma: true }

/** The driver of PCI Express ports. */
export const pciePort: PciDriverOps = {
  name: 'pcieport',
  managesDma: true,
  ids: [{ vendor: 0xffff_ffff, device: 0xffff_ffff, classCode: 0x060400, classMask: 0xff_ffff }],
  probe(device) {
    const { expressType } = device.header
    const ports: readonly (number | undefined)[] = [
      EXPRESS_TYPE.rootPort,
      EXPRESS_TYPE.upstreamPort,
      EXPRESS_TYPE.downstreamPort,
    ]
    if (!device.isBridge || !ports.includes(expressType))
      throw new VfioError('ENODEV', 'probe', { reason: `${device.name} is no port` })
  },
}

function sameId(a: FullDeviceId, b: FullDeviceId): boolean {
  return (Object.keys(a) as (keyof FullDeviceId)[]).every((key) => a[key] === b[key])
}
