/** The adapter for v86, driven through the ports and addresses of a machine that executes nothing. */
import { createRequire } from 'node:module'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { V86 } from 'v86'
import { openDevices, type Devices } from '../../examples/v86-machine/devices.ts'
import { GuestMemory } from '../../examples/v86-machine/guest-memory.ts'
import { initramfs } from '../../examples/v86-machine/initramfs.ts'
import { VfioBus } from '../../examples/v86-machine/pci-bus.ts'
import { insideOf, type Cpu } from '../../examples/v86-machine/v86-inside.ts'
import { PciModel, SoftwareHost, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_TYPE1v2_IOMMU } from '../../ts/index.ts'

/** What only tests ask of the machine. */
interface TestedCpu extends Cpu {
  readonly io: Cpu['io'] & {
    port_read8(port: number): number
    port_read32(port: number): number
    port_write8(port: number, value: number): void
    port_write32(port: number, value: number): void
  }
  mem8: Cpu['mem8'] & Record<number, number>
}

const MIB = 1 << 20
const [ADDRESS, DATA] = [0xcf8, 0xcfc]
const [COMMAND, BAR0, BAR1, INTERRUPT] = [0x04, 0x10, 0x14, 0x3c]
const [SERIAL, EDU] = [12, 13]
const ALL_ONES = 0xffff_ffff
const IO_BASE = 0xc100
const MEMORY_BASE = 0xfd00_0000

/** A mediated device that writes where the test says. */
class Writer extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 0x0d3c, bars: [{ index: 0, size: 4096, kind: 'memory32' }] })
  }
}

let emulator: V86
let cpu: TestedCpu
let devices: Devices
let bus: VfioBus
const refused: unknown[] = []

beforeEach(async () => {
  emulator = new V86({
    wasm_path: createRequire(import.meta.url).resolve('v86/build/v86.wasm'),
    bios: { buffer: new ArrayBuffer(65536) },
    vga_bios: { buffer: new ArrayBuffer(32768) },
    memory_size: 32 * MIB,
    vga_memory_size: MIB,
    autostart: false,
  })
  await new Promise<void>((resolve) => emulator.add_listener('emulator-ready', () => resolve()))
  cpu = insideOf(emulator) as TestedCpu
  devices = openDevices()
  refused.length = 0
  bus = new VfioBus(cpu, devices.container, (error) => refused.push(error))
  bus.plug(devices.serial, SERIAL)
  bus.plug(devices.edu, EDU)
})
afterEach(async () => {
  bus.close()
  devices[Symbol.dispose]()
  await emulator.destroy()
})

function select(slot: number, register: number): void {
  cpu.io.port_write32(ADDRESS, (0x8000_0000 | (slot << 11) | register) >> 0)
}
function readConfig(slot: number, register: number): number {
  select(slot, register)
  return cpu.io.port_read32(DATA) >>> 0
}
function writeConfig(slot: number, register: number, value: number): void {
  select(slot, register)
  cpu.io.port_write32(DATA, value | 0)
}
const load = (address: number): number => (cpu.memory_map_read32[address >>> 17]?.(address | 0) ?? 0) >>> 0
const store = (address: number, value: number): void => cpu.memory_map_write32[address >>> 17]?.(address | 0, value | 0)

/** Turns decoding and bus mastering on, with BARs in their places. */
function enable(): void {
  writeConfig(SERIAL, BAR0, IO_BASE)
  writeConfig(SERIAL, BAR1, IO_BASE + 8)
  writeConfig(SERIAL, COMMAND, 1)
  writeConfig(EDU, BAR0, MEMORY_BASE)
  writeConfig(EDU, COMMAND, 6)
}

describe('configuration space', () => {
  it('is the device, and an empty slot stays empty', () => {
    expect(readConfig(SERIAL, 0)).toBe(0x3253_4348)
    expect(readConfig(EDU, 0)).toBe(0x11e8_1234)
    expect(readConfig(0, 0)).toBe(0x1237_8086) // v86's own
    expect(readConfig(14, 0)).toBe(ALL_ONES)
  })

  it('tells the sizes of BARs, and keeps what is written', () => {
    for (const [slot, register, mask] of [
      [SERIAL, BAR0, 0xffff_fff9],
      [SERIAL, BAR1, 0xffff_fff9],
      [SERIAL, 0x18, 0],
      [EDU, BAR0, 0xfff0_0000],
    ] as const) {
      writeConfig(slot, register, ALL_ONES)
      expect(readConfig(slot, register)).toBe(mask)
    }
    writeConfig(EDU, BAR0, MEMORY_BASE)
    expect(cpu.io.port_read32(DATA) >>> 0).toBe(MEMORY_BASE) // without choosing the register again
  })

  it('takes bytes and words', () => {
    select(EDU, INTERRUPT)
    cpu.io.port_write8(DATA, 0x2b)
    expect(readConfig(EDU, INTERRUPT) & 0xff).toBe(0x2b)
    expect(cpu.devices.pci.device_spaces[EDU << 3]?.[INTERRUPT / 4]).toBe(readConfig(EDU, INTERRUPT))
  })
})

describe('I/O BARs', () => {
  it('answer where the guest puts them, and no longer where they were', () => {
    const scratch = (base: number): number => base + 7
    expect(cpu.io.port_read8(scratch(IO_BASE))).toBe(0xff)
    enable()
    cpu.io.port_write8(scratch(IO_BASE), 0x5a)
    cpu.io.port_write8(scratch(IO_BASE + 8), 0xa5)
    expect(cpu.io.port_read8(scratch(IO_BASE))).toBe(0x5a)
    writeConfig(SERIAL, BAR0, 0x1000)
    expect(cpu.io.port_read8(scratch(IO_BASE))).toBe(0xff)
    expect(cpu.io.port_read8(scratch(0x1000))).toBe(0x5a)
    expect(cpu.io.port_read8(scratch(IO_BASE + 8))).toBe(0xa5)
  })

  it('take no port that another device has', () => {
    const before = cpu.io.ports[0x70]
    writeConfig(SERIAL, BAR0, 0x70)
    writeConfig(SERIAL, COMMAND, 1)
    expect(cpu.io.ports[0x70]).toBe(before)
    writeConfig(SERIAL, BAR0, 0xfff8)
    expect(cpu.io.port_read8(0xffff)).toBe(0)
    expect(cpu.io.ports[0x70]).toBe(before)
  })
})

describe('memory BARs', () => {
  it('move, and leave what was there', () => {
    enable()
    expect(load(MEMORY_BASE)).toBe(0x0100_00ed)
    store(MEMORY_BASE + 4, 0x1234_5678)
    expect(load(MEMORY_BASE + 4)).toBe(0xedcb_a987)
    writeConfig(EDU, BAR0, 0xfe00_0000)
    expect(load(MEMORY_BASE)).toBe(ALL_ONES)
    expect(load(0xfe00_0000)).toBe(0x0100_00ed)
    writeConfig(EDU, COMMAND, 0)
    expect(load(0xfe00_0000)).toBe(ALL_ONES)
  })

  it('do not hide RAM, whatever the guest writes there', () => {
    writeConfig(EDU, BAR0, MIB)
    writeConfig(EDU, COMMAND, 2)
    expect(cpu.memory_map_read32[MIB >>> 17]).toBeUndefined()
    writeConfig(EDU, BAR0, 0xfff0_0000)
    expect(load(0xfff0_0000)).toBe(0x0100_00ed)
  })
})

/** Copies through the device's own buffer. */
function copy(from: number, to: number, length: number, interrupt = 0): void {
  for (const [source, destination, command] of [
    [from, 0x40000, 1],
    [0x40000, to, 3 | interrupt],
  ] as const) {
    const words = [source, 0, destination, 0, length, 0, command]
    words.forEach((word, i) => store(MEMORY_BASE + 0x80 + 4 * i, word))
  }
}

describe('DMA', () => {
  it('reaches RAM, also after that has grown into another buffer', () => {
    enable()
    for (let round = 0; round < 5; round++) {
      for (let i = 0; i < 64; i++) cpu.mem8[2 * MIB + i] = i + round
      const before = cpu.wasm_memory.buffer
      cpu.wasm_memory.grow(16)
      expect(before.byteLength).toBe(0)
      copy(2 * MIB, 3 * MIB, 64)
      expect(cpu.mem8[3 * MIB]).toBe(round)
      expect(cpu.mem8[3 * MIB + 63]).toBe(63 + round)
    }
    expect(devices.container.faults.total).toBe(0n)
  })

  /** What v86 is told to forget while `work` runs. */
  const forgottenBy = (work: () => void): [number, number][] => {
    const forgotten: [number, number][] = []
    const whole = cpu.jit_dirty_cache.bind(cpu)
    cpu.jit_dirty_cache = (start, end) => {
      forgotten.push([start, end])
      whole(start, end)
    }
    work()
    return forgotten
  }

  it('has v86 forget compiled code', () => {
    enable()
    const forgotten = forgottenBy(() => copy(2 * MIB, 3 * MIB, 64))
    expect(forgotten.some(([start, end]) => start <= 3 * MIB && end > 3 * MIB)).toBe(true)
    expect(forgotten.every(([start, end]) => start < end && end <= 32 * MIB)).toBe(true)
  })

  it('has v86 forget no more than the pages that mediated devices wrote', () => {
    bus.close()
    using host = new SoftwareHost()
    const writer = new Writer()
    host.mdev.registerParent('writer', {
      types: [{ name: 'one' }],
      probe: () => writer,
    })
    const { uuid } = host.mdev.create('writer-one')
    using container = host.openContainer()
    using group = host.openGroup(host.groupOf(uuid).number)
    group.setContainer(container)
    container.setIommu(VFIO_TYPE1v2_IOMMU)
    const memory = new GuestMemory(cpu, container)
    const device = group.getDevice(uuid)
    device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(COMMAND, 6)
    forgottenBy(() => memory.forgetStaleCode())
    const forgotten = forgottenBy(() => {
      writer.dma.write(3 * MIB + 4000, new Uint8Array(200).fill(7))
      writer.dma.write(5 * MIB, new Uint8Array(1))
      memory.forgetStaleCode()
      memory.forgetStaleCode()
    })
    expect(cpu.mem8[3 * MIB + 4199]).toBe(7)
    expect(forgotten).toEqual([
      [3 * MIB, 3 * MIB + 8192],
      [5 * MIB, 5 * MIB + 4096],
    ])
    device.close()
    memory.close()
  })

  it('is refused past the end of RAM, in the hole of video memory, and without bus mastering', () => {
    enable()
    copy(2 * MIB, 32 * MIB - 8, 16)
    copy(2 * MIB, 0xa0000, 16)
    writeConfig(EDU, COMMAND, 2)
    copy(2 * MIB, 3 * MIB, 16)
    const reasons = devices.container.faults.records().map(({ reason, access }) => `${access} ${reason}`)
    expect(reasons).toEqual(['write no-mapping', 'write no-mapping', 'read bus-master-off', 'write bus-master-off'])
  })
})

describe('interrupts', () => {
  const [RAISE, ACKNOWLEDGE] = [0x60, 0x64]
  const [ENABLED, REQUESTED, BY_LEVEL, HIGH] = [0, 3, 10, 11]
  const CASCADE = 4
  const controller = (which: 'master' | 'slave'): Uint8Array =>
    new Uint8Array(
      cpu.wasm_memory.buffer,
      which === 'master' ? cpu.get_pic_addr_master() : cpu.get_pic_addr_slave(),
      13,
    )
  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20))
  const asserted = (): boolean => controller('slave')[HIGH] !== 0
  /** Enables all lines, those of PCI by level, and routes them to interrupt 11: what firmware does. */
  const prepare = (): void => {
    controller('master')[ENABLED] = 0xff
    controller('slave')[ENABLED] = 0xff
    controller('slave')[BY_LEVEL] = 0x0c
    writeConfig(1, 0x60, 0x0b0b_0b0b)
    enable()
  }
  const until = async (done: () => boolean): Promise<boolean> => {
    for (let i = 0; i < 100 && !done(); i++) await turn()
    return done()
  }

  it('rise with the device and fall with its acknowledgement', async () => {
    prepare()
    store(MEMORY_BASE + RAISE, 1)
    expect(await until(asserted)).toBe(true)
    expect(load(MEMORY_BASE + 0x24)).toBe(1)
    expect(asserted()).toBe(true) // looking is no acknowledgement
    store(MEMORY_BASE + ACKNOWLEDGE, 1)
    expect(asserted()).toBe(false)
    store(MEMORY_BASE + RAISE, 2)
    expect(await until(asserted)).toBe(true)
  })

  it('leave nothing behind where the guest took none', async () => {
    prepare()
    store(MEMORY_BASE + RAISE, 1)
    expect(await until(asserted)).toBe(true)
    expect(controller('master')[REQUESTED]! & CASCADE).toBe(CASCADE)
    store(MEMORY_BASE + ACKNOWLEDGE, 1)
    expect(controller('master')[REQUESTED]! & CASCADE).toBe(0)
    expect(controller('master')[HIGH]! & CASCADE).toBe(0)
  })

  it('fall when the device is closed', async () => {
    prepare()
    store(MEMORY_BASE + RAISE, 1)
    expect(await until(asserted)).toBe(true)
    devices.edu.close()
    expect(load(MEMORY_BASE)).toBe(ALL_ONES)
    expect(asserted()).toBe(false)
  })

  it('are silent while configuration space turns them off', async () => {
    prepare()
    store(MEMORY_BASE + RAISE, 1)
    expect(await until(asserted)).toBe(true)
    writeConfig(EDU, COMMAND, 6 | 0x400)
    expect(asserted()).toBe(false)
    expect((readConfig(EDU, COMMAND) >>> 16) & 8).toBe(8)
    writeConfig(EDU, COMMAND, 6)
    expect(await until(asserted)).toBe(true)
  })
})

describe('the bus', () => {
  it('refuses slots that are taken or are none', () => {
    expect(() => bus.plug(devices.edu, SERIAL)).toThrow('slot 12 is taken')
    expect(() => bus.plug(devices.edu, 0)).toThrow('slot 0 is taken')
    for (const slot of [-1, 32, 1.5, NaN]) expect(() => bus.plug(devices.edu, slot)).toThrow(RangeError)
  })

  it('reads ones where a device refuses, and tells', () => {
    enable()
    devices.edu.close()
    expect(load(MEMORY_BASE)).toBe(ALL_ONES)
    store(MEMORY_BASE, 1)
    expect(readConfig(EDU, 0)).toBe(ALL_ONES)
    bus.reset()
    expect(refused.length).toBeGreaterThan(3)
    expect(refused[0]).toMatchObject({ code: 'EBADF' })
  })

  it('survives that everything behind it was closed', async () => {
    enable()
    store(MEMORY_BASE + 0x60, 1)
    devices[Symbol.dispose]()
    copy(2 * MIB, 3 * MIB, 64)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(load(MEMORY_BASE)).toBe(ALL_ONES)
    expect(() => bus.close()).not.toThrow()
    expect(refused.length).toBeGreaterThan(0)
  })

  it('gives everything back', () => {
    enable()
    bus.close()
    expect(readConfig(EDU, 0)).toBe(ALL_ONES)
    expect(readConfig(0, 0)).toBe(0x1237_8086)
    expect(load(MEMORY_BASE)).toBe(ALL_ONES)
    expect(cpu.io.port_read8(IO_BASE + 7)).toBe(0xff)
    expect(() => bus.close()).not.toThrow()
  })

  it('says what it misses in another v86', () => {
    expect(() => insideOf({})).toThrow(/not ready, or has changed: its CPU has no wasm_memory/)
    expect(() => insideOf({ v86: { cpu: { io: {} } } })).toThrow(/no wasm_memory, mem8, devices/)
  })
})

describe('an initramfs', () => {
  it('is an archive of the new ASCII format', () => {
    const archive = Buffer.from(
      initramfs([
        { path: 'dev', mode: 0o040755 },
        { path: 'dev/console', mode: 0o020600, device: [5, 1] },
        { path: 'init', mode: 0o100755, content: Buffer.from('#!/bin/sh') },
      ]),
    )
    const names: string[] = []
    for (let at = 0; at < archive.length;) {
      const field = (index: number): number =>
        parseInt(archive.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16)
      expect(archive.toString('latin1', at, at + 6)).toBe('070701')
      const [size, length] = [field(6), field(11)]
      names.push(
        `${archive.toString('latin1', at + 110, at + 110 + length - 1)} ${field(1).toString(8)} ${field(9)},${field(10)} ${size}`,
      )
      at += (110 + length + 3) & ~3
      at += (size + 3) & ~3
    }
    expect(names).toEqual(['dev 40755 0,0 0', 'dev/console 20600 5,1 0', 'init 100755 0,0 9', 'TRAILER!!! 0 0,0 0'])
  })
})
