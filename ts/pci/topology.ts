/**
 * The topology: slots with hardware in them, and the functions and buses that enumeration found.
 *
 * Hardware may be there without being enumerated (it was removed through sysfs and waits for a rescan); an enumerated
 * function always has hardware.
 */
import { VfioError } from '../errors.ts'
import { busName, formatPciAddress, type PciAddress } from './address.ts'
import { CONFIG } from './config-layout.ts'
import { PciBus, PciDevice, type PciQuirks } from './device.ts'
import type { PciHardware } from './hardware.ts'

/** Hardware in a slot. */
export interface Slot {
  readonly address: PciAddress
  readonly hardware: PciHardware
  readonly quirks: PciQuirks
  /** Number of the bus behind it, if it is a bridge. */
  secondaryBus?: number
}

/** Slots, functions and buses of one machine. */
export class Topology {
  readonly #slots = new Map<string, Slot>()
  readonly #roots = new Map<string, PciBus>()
  readonly #devices = new Map<string, PciDevice>()

  /** The root buses, by domain and number. */
  get roots(): PciBus[] {
    return [...this.#roots.values()].sort((a, b) => a.domain - b.domain || a.number - b.number)
  }

  /** Makes a root bus, or gives the one that is there. @throws {VfioError} EEXIST a bridge leads to a bus of that number */
  root(domain: number, number: number): PciBus {
    const name = busName(domain, number)
    const known = this.#roots.get(name)
    if (known) return known
    if (this.bus(domain, number))
      throw new VfioError('EEXIST', 'addRootBus', { reason: `a bridge leads to bus ${name}` })
    const bus = new PciBus(domain, number)
    this.#roots.set(name, bus)
    return bus
  }

  /** All enumerated functions, as enumeration walks them. */
  all(): PciDevice[] {
    return this.roots.flatMap((bus) => bus.walk())
  }

  /** The enumerated function of that name. */
  named(name: string): PciDevice | undefined {
    return this.#devices.get(name.toLowerCase())
  }

  /** The bus of that number. */
  bus(domain: number, number: number): PciBus | undefined {
    const root = this.#roots.get(busName(domain, number))
    if (root) return root
    return this.all().find((device) => device.address.domain === domain && device.subordinate?.number === number)
      ?.subordinate
  }

  /** Whether a bus of that number is there or is promised to hardware that waits for a rescan. */
  busTaken(domain: number, number: number): boolean {
    if (this.#roots.has(busName(domain, number))) return true
    return [...this.#slots.values()].some((slot) => slot.address.domain === domain && slot.secondaryBus === number)
  }

  /** The lowest bus number that is free in a domain. @throws {VfioError} ENOSPC all 256 are taken */
  freeBus(domain: number): number {
    for (let number = 1; number < 256; number++) if (!this.busTaken(domain, number)) return number
    throw new VfioError('ENOSPC', 'addBridge', { reason: `all buses of domain ${domain} are taken` })
  }

  /** Puts hardware into a slot. @throws {VfioError} EEXIST there is some */
  plug(slot: Slot): void {
    this.requireFree(slot.address)
    this.#slots.set(formatPciAddress(slot.address), slot)
  }

  /** Refuses a slot with hardware, or one whose hardware is still in use although it was pulled out. @throws {VfioError} EEXIST */
  requireFree(address: PciAddress): void {
    const name = formatPciAddress(address)
    if (this.#slots.has(name) || this.#devices.has(name))
      throw new VfioError('EEXIST', 'add', { reason: `${name} is taken` })
  }

  /** Whether a slot has hardware. */
  plugged(name: string): boolean {
    return this.#slots.has(name)
  }

  /** Takes hardware out of its slot. */
  unplug(name: string): Slot | undefined {
    const slot = this.#slots.get(name)
    this.#slots.delete(name)
    return slot
  }

  /** Slots with hardware that was not enumerated, on buses that are there, in order. */
  waiting(): Slot[] {
    return [...this.#slots.entries()]
      .filter(([name, { address }]) => !this.#devices.has(name) && this.bus(address.domain, address.bus) !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, slot]) => slot)
  }

  /** Names of the slots whose hardware sits behind a bridge, at any depth. */
  slotsBehind(name: string): string[] {
    const bridge = this.#slots.get(name)
    if (bridge?.secondaryBus === undefined) return []
    const { domain } = bridge.address
    const behind = [...this.#slots.keys()].filter((other) =>
      other.startsWith(`${busName(domain, bridge.secondaryBus as number)}:`),
    )
    return behind.flatMap((other) => [...this.slotsBehind(other), other])
  }

  /** Finds the function of a slot. @throws {VfioError} ENODEV no bus leads there */
  enumerate(slot: Slot): PciDevice {
    const { domain, bus: number } = slot.address
    const bus = this.bus(domain, number)
    if (!bus)
      throw new VfioError('ENODEV', 'add', {
        reason: `nothing leads to bus ${busName(domain, number)}`,
        remedy: 'add a bridge first',
      })
    const device = new PciDevice(slot.address, bus, slot.hardware, slot.quirks)
    if (slot.secondaryBus !== undefined) {
      leadTo(device, slot.secondaryBus)
    }
    bus.attach(device)
    this.#devices.set(device.name, device)
    return device
  }

  /** Gives the empty bus behind a bridge another number. */
  renumber(bridge: PciDevice, number: number): void {
    const slot = this.#slots.get(bridge.name)
    if (slot) slot.secondaryBus = number
    leadTo(bridge, number)
  }

  /** Forgets a function. */
  forget(device: PciDevice): void {
    device.gone = true
    device.bus.detach(device)
    if (this.#devices.get(device.name) === device) this.#devices.delete(device.name)
  }
}

/** Puts an empty bus behind a bridge. */
function leadTo(bridge: PciDevice, number: number): void {
  const { hardware, bus } = bridge
  bridge.subordinate = new PciBus(bus.domain, number, bridge)
  hardware.configWrite(CONFIG.primaryBus, 1, bus.number)
  hardware.configWrite(CONFIG.secondaryBus, 1, number)
  hardware.configWrite(CONFIG.subordinateBus, 1, number)
  raiseSubordinate(bus, number)
}

/** Bridges above forward configuration cycles to every bus below. */
function raiseSubordinate(from: PciBus, number: number): void {
  for (let bridge = from.bridge; bridge !== undefined; bridge = bridge.bus.bridge) {
    const { hardware } = bridge
    if (hardware.configRead(CONFIG.subordinateBus, 1) < number) hardware.configWrite(CONFIG.subordinateBus, 1, number)
  }
}
