/** Enumerated functions and the buses they sit on. */
import type { VfioDevice } from '../device/vfio-device.ts'
import type { GroupMember, IommuGroup } from '../group/iommu-group.ts'
import { busName, devfn, formatPciAddress, type PciAddress } from './address.ts'
import { HEADER_BRIDGE, type PciHeader, readHeader } from './config-layout.ts'
import type { PciHardware } from './hardware.ts'
import { type BarResource, findBars } from './resources.ts'

/** What a function needs to know of the driver it is bound to. */
export interface BoundDriver {
  readonly name: string
  /** The driver leaves the function's DMA to others (`driver_managed_dma`). */
  readonly managesDma: boolean
}

/** A bus: a root bus, or the one behind a bridge. */
export class PciBus {
  readonly domain: number
  readonly number: number
  /** The bridge that leads to it; undefined: a root bus. */
  readonly bridge: PciDevice | undefined
  readonly #devices = new Map<number, PciDevice>()

  constructor(domain: number, number: number, bridge?: PciDevice) {
    this.domain = domain
    this.number = number
    this.bridge = bridge
  }

  /** Name of the bus, such as `0000:06`. */
  get name(): string {
    return busName(this.domain, this.number)
  }

  /** Directory in sysfs that holds the functions of the bus. */
  get path(): string {
    return this.bridge ? this.bridge.path : `/sys/devices/pci${this.name}`
  }

  /** The functions on the bus, by slot and function. */
  get devices(): PciDevice[] {
    return [...this.#devices.values()].sort((a, b) => a.devfn - b.devfn)
  }

  /** The function at a slot. */
  at(where: number): PciDevice | undefined {
    return this.#devices.get(where)
  }

  /** The functions on the bus and on all buses behind it, as enumeration walks them. */
  walk(): PciDevice[] {
    return this.devices.flatMap((device) => [device, ...(device.subordinate?.walk() ?? [])])
  }

  /** For the topology: a function was found. */
  attach(device: PciDevice): void {
    this.#devices.set(device.devfn, device)
  }

  /** For the topology: a function has gone. */
  detach(device: PciDevice): void {
    if (this.#devices.get(device.devfn) === device) this.#devices.delete(device.devfn)
  }
}

/** Overrides of what a function says about itself, as the kernel has them for devices known to it. */
export interface PciQuirks {
  /** The function isolates although (or does not although) it has no ACS capability (or has one). */
  acs?: boolean
  /** No reset of the bus that the function sits on. */
  noBusReset?: boolean
  /** A port whose link does not report itself up after a reset of the bus behind it: the reset is done, and answered with ENOTTY. */
  linkStaysDown?: boolean
}

/** A function that enumeration found. */
export class PciDevice implements GroupMember {
  readonly address: PciAddress
  /** Its address as text, such as `0000:06:0d.0`. */
  readonly name: string
  readonly bus: PciBus
  readonly hardware: PciHardware
  readonly header: PciHeader
  /** Its base address registers. */
  readonly bars: readonly BarResource[]
  readonly quirks: Readonly<PciQuirks>
  /**
   * The device as VFIO knows it, while `vfio-pci` has it; `serve()` takes it.
   * @internal
   */
  vfio: VfioDevice | undefined
  /** The bus behind it, if it is a bridge. */
  subordinate: PciBus | undefined
  /** IOMMU group that it is in; undefined: there is no IOMMU. */
  group: IommuGroup | undefined
  /** Driver that it is bound to. */
  boundTo: BoundDriver | undefined
  /** Name of the only driver that it may be bound to. */
  driverOverride: string | undefined
  /** How often it was enabled through sysfs or by a driver. */
  enableCount = 0
  /** It was taken out of the topology. */
  gone = false

  constructor(address: PciAddress, bus: PciBus, hardware: PciHardware, quirks: PciQuirks = {}) {
    this.address = address
    this.name = formatPciAddress(address)
    this.bus = bus
    this.hardware = hardware
    this.header = readHeader(hardware)
    this.bars = findBars(hardware, this.header.headerType)
    this.quirks = quirks
  }

  /** Slot and function in one byte. */
  get devfn(): number {
    return devfn(this.address)
  }

  /** Directory in sysfs. */
  get path(): string {
    return `${this.bus.path}/${this.name}`
  }

  /** Whether it leads to another bus. */
  get isBridge(): boolean {
    return this.header.headerType === HEADER_BRIDGE
  }

  /** Whether its slot has more functions. */
  get multifunction(): boolean {
    return this.address.function > 0 || this.header.multifunction || this.siblings.length > 0
  }

  /** The other functions of its slot. */
  get siblings(): PciDevice[] {
    return this.bus.devices.filter((other) => other !== this && other.address.slot === this.address.slot)
  }

  /** Name of the driver that it is bound to. */
  get driver(): string | undefined {
    return this.boundTo?.name
  }

  get driverManagedDma(): boolean {
    return this.boundTo?.managesDma ?? false
  }
}
