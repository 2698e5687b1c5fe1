/** A device of ours as a function on v86's PCI bus: configuration space, base address registers, interrupt. */
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ROM_REGION_INDEX, type Device, type Region } from 'vfio'
import { placeAtPorts, type MemoryWindows, type Placed, type Width, type Window } from './bar-windows.ts'
import { InterruptLine } from './interrupt-line.ts'
import type { Cpu } from './v86-inside.ts'

const [COMMAND, FIRST_BAR, BEHIND_BARS, ROM_BAR, INTERRUPT] = [0x04, 0x10, 0x28, 0x30, 0x3c]
const [IO_ENABLED, MEMORY_ENABLED, BUS_MASTER] = [1, 2, 4]
const [IS_IO, IS_WIDE, ROM_ENABLED] = [1, 4, 1]
const CONFIG_SIZE = 256
const ALL_ONES = { 1: 0xff, 2: 0xffff, 4: 0xffff_ffff } as const

/** What the function needs of the machine. */
export interface Surroundings {
  readonly cpu: Cpu
  readonly memory: MemoryWindows
  /** A device with bus mastering may have written to RAM. */
  dmaDone(): void
  /** A device refused an access; the guest has got what a bus without an answer gives. */
  refused(error: unknown): void
}

interface Bar {
  readonly register: number
  readonly window: Window
  base?: number | undefined
  placed?: Placed | undefined
}

/** A function in a slot. */
export class PciFunction {
  readonly #around: Surroundings
  readonly #device: Device
  readonly #config: Region
  readonly #id: number
  readonly #bars: Bar[]
  readonly #line: InterruptLine
  #command = 0

  /** Puts `device` at `id`, its device number times eight. */
  constructor(around: Surroundings, id: number, device: Device) {
    this.#around = around
    this.#device = device
    this.#id = id
    this.#config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
    this.#bars = [...this.#findBars()]
    this.#line = new InterruptLine(around.cpu, id, device, () => this.#dmaDone())
    around.cpu.devices.pci.register_device({
      pci_id: id,
      pci_space: [...this.#config.read(0, CONFIG_SIZE)],
      pci_bars: [],
      name: device.name,
    })
    this.#follow()
  }

  /** Reads configuration space. */
  readConfig(offset: number): number {
    return this.#load(this.#config, offset, 4)
  }

  /** Writes configuration space, and follows what that moves. */
  writeConfig(offset: number, width: Width, value: number): void {
    this.#store(this.#config, offset, width, value)
    const register = offset & ~3
    if (register === COMMAND || (register >= FIRST_BAR && register < BEHIND_BARS) || register === ROM_BAR)
      this.#follow()
    if (register === COMMAND) this.#line.recheck() // the guest may have turned the interrupt off or on
    if (register === INTERRUPT) this.#tellRouting()
  }

  /** Resets the device, as the machine's reset line does. */
  reset(): void {
    this.#try(() => this.#device.reset(), undefined)
    this.#follow()
    this.#line.recheck()
  }

  /** Takes the function off the bus (idempotent); the device stays open. */
  close(): void {
    this.#line.close()
    for (const bar of this.#bars) bar.placed?.remove()
    const { pci } = this.#around.cpu.devices
    pci.device_spaces[this.#id] = undefined
    pci.devices[this.#id] = undefined
  }

  *#findBars(): Generator<Bar> {
    for (let index = 0; index <= VFIO_PCI_ROM_REGION_INDEX; index++) {
      const region = this.#device.region(index)
      if (region.size === 0n || region.size >= 2n ** 32n) continue
      const register = index === VFIO_PCI_ROM_REGION_INDEX ? ROM_BAR : FIRST_BAR + 4 * index
      yield { register, window: this.#window(region) }
    }
  }

  #window(region: Region): Window {
    return {
      size: Number(region.size),
      read: (offset, width) => {
        const value = this.#load(region, offset, width)
        this.#touched()
        return value
      },
      write: (offset, width, value) => {
        this.#store(region, offset, width, value)
        this.#touched()
      },
    }
  }

  /** Puts each window where its register says, or nowhere while the command register keeps it off. */
  #follow(): void {
    this.#command = this.#load(this.#config, COMMAND, 2)
    for (const bar of this.#bars) {
      const low = this.readConfig(bar.register)
      const base = this.#baseOf(bar.register, low)
      if (base === bar.base) continue
      bar.placed?.remove()
      bar.base = base
      const isIo = bar.register !== ROM_BAR && (low & IS_IO) !== 0
      if (base === undefined) bar.placed = undefined
      else
        bar.placed = isIo
          ? placeAtPorts(this.#around.cpu, bar.window, base)
          : this.#around.memory.place(bar.window, base)
    }
    this.#tellRouting()
  }

  #baseOf(register: number, low: number): number | undefined {
    const isRom = register === ROM_BAR
    const isIo = !isRom && (low & IS_IO) !== 0
    if ((this.#command & (isIo ? IO_ENABLED : MEMORY_ENABLED)) === 0) return undefined
    if (isRom && (low & ROM_ENABLED) === 0) return undefined
    const high = !isIo && !isRom && (low & IS_WIDE) !== 0 ? this.readConfig(register + 4) : 0
    const base = high * 2 ** 32 + ((low & (isIo ? ~0x3 : isRom ? ~0x7ff : ~0xf)) >>> 0)
    return base === 0 ? undefined : base
  }

  /** v86 finds the interrupt line by what configuration space says of the pin. */
  #tellRouting(): void {
    const space = this.#around.cpu.devices.pci.device_spaces[this.#id]
    if (space !== undefined) space[INTERRUPT / 4] = this.readConfig(INTERRUPT)
  }

  #touched(): void {
    this.#dmaDone()
    this.#line.recheck()
  }

  #dmaDone(): void {
    if ((this.#command & BUS_MASTER) !== 0) this.#try(() => this.#around.dmaDone(), undefined)
  }

  #load(region: Region, offset: number, width: Width): number {
    return this.#try(
      () => (width === 1 ? region.readU8(offset) : width === 2 ? region.readU16(offset) : region.readU32(offset)),
      ALL_ONES[width],
    )
  }

  #store(region: Region, offset: number, width: Width, value: number): void {
    const bits = (value & ALL_ONES[width]) >>> 0
    this.#try(() => {
      if (width === 1) region.writeU8(offset, bits)
      else if (width === 2) region.writeU16(offset, bits)
      else region.writeU32(offset, bits)
    }, undefined)
  }

  #try<T>(access: () => T, otherwise: T): T {
    try {
      return access()
    } catch (error) {
      this.#around.refused(error)
      return otherwise
    }
  }
}
