/**
 * The PCI side of a simulated machine: `host.pci`.
 *
 * Plugs functions and bridges in and out, enumerates them, puts them into IOMMU groups, binds them to drivers, and shows it
 * all under `/sys/bus/pci` and `/sys/devices`.
 */
import { invalidArgType, VfioError } from '../errors.ts'
import type { IommuGroupOptions, IommuGroupRegistry } from '../group/iommu-group.ts'
import { flag, record, text, u32 } from '../shape.ts'
import { PciModel } from '../device/pci-model.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import { busName, formatPciAddress, hex, parsePciAddress, type PciAddress } from './address.ts'
import { type PciBridgeOptions, bridgeHardware } from './bridge.ts'
import { addBusNode } from './bus-attributes.ts'
import type { PciDevice, PciQuirks } from './device.ts'
import { type PciDriver, type PciDriverOps, pciePort, pciStub } from './driver.ts'
import { DriverCore } from './driver-core.ts'
import { plugIn, powerOn } from './firmware.ts'
import { addFunctionNode, removeFunctionNode } from './function-attributes.ts'
import type { PciFunctionDescriptor, PciHardware } from './hardware.ts'
import { updateBusReset } from './hot-reset.ts'
import { enableAcs, findGroup } from './isolation.ts'
import { NativeHardware } from './native-hardware.ts'
import { type Slot, Topology } from './topology.ts'

/** What the PCI side is built on. */
export interface HostPciOptions {
  sysfs: SysfsTree
  groups: IommuGroupRegistry
  /** What each new group is made of; `false`: the machine has no IOMMU, functions are in no group. */
  iommu?: Pick<IommuGroupOptions, 'reserved' | 'type'> | false
}

/** Where and how a function is plugged in. */
export interface PlugOptions {
  /** The bridge that it sits behind, as a function or by address; default: the one that leads to its bus. */
  behind?: PciDevice | string
  /**
   * Driver to bind it to. `'vfio-pci'` and `'pci-stub'` are bound through `driver_override`; any other name stands for a
   * driver of the host that uses the function's DMA, and is registered if it is new.
   */
  driver?: string
  /** What the machine knows better than the function itself. */
  quirks?: PciQuirks
}

/** How a bridge is plugged in. */
export interface BridgePlugOptions extends PciBridgeOptions, Omit<PlugOptions, 'driver'> {
  /** Number of the bus behind it; default: the lowest that is free, or that of the first function put behind it. */
  secondaryBus?: number
}

/** The PCI side of one machine. */
export class HostPci {
  readonly #sysfs: SysfsTree
  readonly #groups: IommuGroupRegistry
  readonly #iommu: Pick<IommuGroupOptions, 'reserved' | 'type'> | false
  readonly #topology = new Topology()
  readonly #core: DriverCore
  /** Bridges whose bus number was not asked for: the first function behind may choose it. */
  readonly #undecided = new Set<string>()

  constructor(options: HostPciOptions) {
    this.#sysfs = options.sysfs
    this.#groups = options.groups
    this.#iommu = options.iommu ?? {}
    this.#core = new DriverCore(this.#sysfs, this.#topology)
    addBusNode(this.#sysfs, {
      core: this.#core,
      functions: this.#topology,
      rescan: () => this.rescan(),
    })
    this.addRootBus(0, 0)
    this.#core.register(pciePort)
    this.#core.register(pciStub)
  }

  /** All functions, bridges included, as enumeration walks them. */
  get devices(): readonly PciDevice[] {
    return this.#topology.all()
  }

  /** Names of the registered drivers. */
  get drivers(): readonly string[] {
    return this.#core.drivers.map((driver) => driver.name)
  }

  /** The function at an address, if there is one. @throws {TypeError} no address */
  device(address: string): PciDevice | undefined {
    return this.#topology.named(formatPciAddress(parsePciAddress(address)))
  }

  /** Makes a root bus; bus 0 of domain 0 is there from the beginning. @throws {VfioError} EEXIST */
  addRootBus(domain: number, bus: number): void {
    const { domain: checked, bus: number } = parsePciAddress(
      `${hex(u32(domain, 'domain'), 4)}:${hex(u32(bus, 'bus'), 2)}:00.0`,
      'domain and bus',
    )
    this.#topology.root(checked, number)
    this.#sysfs.dir(`/sys/devices/pci${busName(domain, bus)}`)
  }

  /**
   * Plugs a bridge in.
   * @throws {TypeError} a value of the wrong shape
   * @throws {VfioError} EEXIST the slot or the bus number is taken, ENODEV nothing leads to the bus
   */
  addBridge(address: string, options: BridgePlugOptions): PciDevice {
    const at = parsePciAddress(address)
    const hardware = bridgeHardware(record(options, 'options'))
    this.#leadTo(at, options.behind)
    const { secondaryBus } = options
    if (secondaryBus !== undefined && (!Number.isInteger(secondaryBus) || secondaryBus < 1 || secondaryBus > 255)) {
      throw invalidArgType('secondaryBus', 'a bus number from 1 to 255', secondaryBus)
    }
    const bus = secondaryBus ?? this.#topology.freeBus(at.domain)
    if (secondaryBus !== undefined && this.#topology.busTaken(at.domain, bus)) {
      throw new VfioError('EEXIST', 'addBridge', { reason: `bus ${busName(at.domain, bus)} is taken` })
    }
    const device = this.#plug({ address: at, hardware, quirks: quirksOf(options), secondaryBus: bus })
    if (secondaryBus === undefined) this.#undecided.add(device.name)
    return device
  }

  /**
   * Plugs a function in, which is enumerated, grouped and bound at once.
   * @throws {TypeError} a value of the wrong shape
   * @throws {VfioError} EEXIST the slot is taken, ENODEV nothing leads to the bus, and what the driver refuses with
   */
  add(address: string, descriptor: PciFunctionDescriptor | PciModel, options: PlugOptions = {}): PciDevice {
    const at = parsePciAddress(address)
    const create = creatorOf(descriptor)
    if (options.driver !== undefined) text(options.driver, 'options.driver')
    const quirks = quirksOf(options)
    this.#leadTo(at, options.behind)
    this.#topology.requireFree(at)
    const device = this.#plug({ address: at, hardware: create(formatPciAddress(at)), quirks }, options.driver)
    if (options.driver === undefined) return device
    try {
      this.bind(device.name, options.driver)
    } catch (error) {
      this.remove(device.name)
      throw error
    }
    return device
  }

  /**
   * Pulls a function out, and everything behind it if it is a bridge. Functions that are open stay until their users, who are
   * asked to let go, have closed them; tells whether all have gone at once.
   * @throws {TypeError} no address
   * @throws {VfioError} ENODEV there is nothing
   */
  remove(address: string): boolean {
    const name = formatPciAddress(parsePciAddress(address))
    const names = [...this.#topology.slotsBehind(name), name]
    const slots = names.map((other) => ({ name: other, slot: this.#topology.unplug(other) }))
    if (slots.at(-1)?.slot === undefined)
      throw new VfioError('ENODEV', 'remove', { reason: `there is nothing at ${name}` })
    for (const other of names) this.#undecided.delete(other)
    const device = this.#topology.named(name)
    if (device) this.#stop(device, () => slots.forEach(({ slot }) => slot?.hardware.close()))
    else slots.forEach(({ slot }) => slot?.hardware.close())
    return device?.gone ?? true
  }

  /** Enumerates hardware that is there and was removed through sysfs. */
  rescan(): void {
    for (let found = this.#topology.waiting(); found.length > 0; found = this.#topology.waiting()) {
      for (const slot of found) this.#enumerate(slot)
    }
  }

  /** Gives every BAR and bridge window its address anew, as firmware does before a system starts. */
  powerOn(): void {
    for (const root of this.#topology.roots) powerOn(root)
  }

  /** Registers a driver, and offers it the functions without one. @throws {VfioError} EBUSY the name is taken */
  addDriver(ops: PciDriverOps): PciDriver {
    text(record(ops, 'ops').name, 'name')
    if (!/^[^/\0\n]{1,255}$/.test(ops.name)) throw invalidArgType('name', 'a file name', ops.name)
    return this.#core.register(ops)
  }

  /**
   * Binds a function to a driver, wherever it was bound before: what `driver_override` and `drivers_probe` do together. A name
   * that is new stands for a driver of the host.
   * @throws {VfioError} ENODEV no such function, EBUSY it is still open or the group's DMA belongs to user space, and what the driver refuses with
   */
  bind(address: string, driver: string): void {
    const device = this.#named(address, 'bind')
    const known = this.#core.driver(text(driver, 'driver')) ?? this.addDriver({ name: driver })
    if (device.boundTo === known && !this.#core.isLeaving(device)) return
    this.#core.unbind(device)
    const before = device.driverOverride
    device.driverOverride = known.managesDma ? known.name : undefined
    if (!known.managesDma) known.extendTable({ vendor: device.header.vendor, device: device.header.device })
    try {
      this.#core.bind(known, device)
    } catch (error) {
      device.driverOverride = before
      throw error
    }
  }

  /**
   * Takes a function from its driver. Tells whether it has let go; otherwise it will when the function is closed.
   * @throws {VfioError} ENODEV no such function
   */
  unbind(address: string): boolean {
    const device = this.#named(address, 'unbind')
    this.#core.unbind(device)
    return device.boundTo === undefined
  }

  /** Lets everything go: the machine is switched off. Idempotent. */
  close(): void {
    for (const root of this.#topology.roots) {
      // What is still open was taken out before and leaves when it is closed.
      for (const device of root.devices) if (this.#topology.plugged(device.name)) this.remove(device.name)
    }
  }

  #named(address: string, operation: string): PciDevice {
    const device = this.device(address)
    if (!device) throw new VfioError('ENODEV', operation, { reason: `there is nothing at ${address}` })
    return device
  }

  /** Sees to it that a bus of that number exists, or refuses. */
  #leadTo(at: PciAddress, behind: PciDevice | string | undefined): void {
    if (behind === undefined) {
      if (this.#topology.bus(at.domain, at.bus)) return
      if (at.bus === 0) return this.addRootBus(at.domain, 0)
      throw new VfioError('ENODEV', 'add', {
        reason: `nothing leads to bus ${busName(at.domain, at.bus)}`,
        remedy: 'add a bridge with that secondaryBus, or say behind which one the function sits',
      })
    }
    const name = typeof behind === 'string' ? behind : behind?.name
    const bridge = this.device(text(name, 'behind'))
    if (!bridge?.subordinate) throw new VfioError('ENODEV', 'add', { reason: `${name} is no bridge of this machine` })
    if (bridge.subordinate.domain === at.domain && bridge.subordinate.number === at.bus) return
    if (
      !this.#undecided.has(bridge.name) ||
      bridge.subordinate.devices.length > 0 ||
      this.#topology.busTaken(at.domain, at.bus)
    ) {
      throw new VfioError('EINVAL', 'add', {
        reason: `bus ${busName(at.domain, at.bus)} is not behind ${bridge.name}, which leads to ${bridge.subordinate.name}`,
      })
    }
    this.#topology.renumber(bridge, at.bus)
    this.#undecided.delete(bridge.name)
  }

  #plug(slot: Slot, driver?: string): PciDevice {
    this.#topology.plug(slot)
    try {
      return this.#enumerate(slot, driver !== undefined)
    } catch (error) {
      const name = formatPciAddress(slot.address)
      const device = this.#topology.named(name)
      if (device) this.#forget(device, () => {})
      this.#topology.unplug(name)
      slot.hardware.close()
      throw error
    }
  }

  #enumerate(slot: Slot, driverFollows = false): PciDevice {
    const device = this.#topology.enumerate(slot)
    plugIn(
      device,
      this.devices.filter((other) => other !== device),
    )
    enableAcs(device)
    updateBusReset(device.bus)
    addFunctionNode(this.#sysfs, device, {
      remove: (gone) => {
        const stopped = new Promise<void>((resolve) => this.#stop(gone, resolve))
        return gone.gone ? undefined : stopped
      },
      rescan: () => this.rescan(),
    })
    this.#group(device)
    if (this.#core.autoprobe && !driverFollows) this.#core.attach(device)
    return device
  }

  #group(device: PciDevice): void {
    if (this.#iommu === false) return
    const group = findGroup(device) ?? this.#groups.create({ kind: 'iommu', ...this.#iommu })
    group.add(device)
    device.group = group
  }

  /** Takes a function out of the system, those behind it first. */
  #stop(device: PciDevice, done: () => void = () => {}): void {
    const behind = device.subordinate?.devices ?? []
    let left = behind.length
    const stopped = () => {
      if (--left <= 0) this.#core.unbind(device, () => this.#forget(device, done))
    }
    if (left === 0) stopped()
    else for (const other of behind) this.#stop(other, stopped)
  }

  #forget(device: PciDevice, done: () => void): void {
    if (device.gone) return done()
    device.group?.remove(device.name)
    device.group = undefined
    removeFunctionNode(this.#sysfs, device)
    this.#topology.forget(device)
    updateBusReset(device.bus)
    done()
  }
}

function creatorOf(descriptor: PciFunctionDescriptor | PciModel): (name: string) => PciHardware {
  if (descriptor instanceof PciModel)
    return (name) => new NativeHardware(descriptor.createFunction(name), undefined, descriptor)
  if (typeof descriptor?.create === 'function') return (name) => descriptor.create(name)
  throw invalidArgType('descriptor', 'a PCI function such as new Edu(), or a PciModel', descriptor)
}

function quirksOf(options: { quirks?: PciQuirks }): PciQuirks {
  const { acs, noBusReset, linkStaysDown } = options.quirks ?? {}
  return {
    ...(acs === undefined ? {} : { acs: flag(acs, 'quirks.acs', false) }),
    ...(noBusReset === undefined ? {} : { noBusReset: flag(noBusReset, 'quirks.noBusReset', false) }),
    ...(linkStaysDown === undefined ? {} : { linkStaysDown: flag(linkStaysDown, 'quirks.linkStaysDown', false) }),
  }
}
