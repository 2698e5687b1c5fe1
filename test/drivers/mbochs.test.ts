/** The mbochs display, as a process sees it. */
import { describe, expect, it } from 'vitest'
import { mbochs, SoftwareHost } from '../../ts/index.ts'
import { u32s } from '../files/files.ts'
import { displayMachine, planeOf, planeRequest } from './displays.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const [REGISTERS, EDID, MEMORY] = [0x1000, 0x2000, 0x3000]
const SMALL = 4 << 20
const DISPI = REGISTERS + 0x500
const BLOB = EDID + 0x800
const TYPES = '/sys/class/mdev_bus/mbochs/mdev_supported_types'
const [PRIMARY, DMABUF] = [1, 2]

type Machine = ReturnType<typeof displayMachine>

function small(repaired = false) {
  return displayMachine(mbochs({ repaired }), 'mbochs-small')
}

function set({ write }: Machine, registers: Record<number, number>): void {
  for (const [index, value] of Object.entries(registers)) write(DISPI + 2 * Number(index), value & 0xff, value >> 8)
}

function word({ read }: Machine, position: number): number | undefined {
  return new Uint32Array(Uint8Array.from(read(position, 4)).buffer)[0]
}

function query({ file }: Machine, planeType = PRIMARY) {
  const request = planeRequest(DMABUF, planeType)
  request.fill(0xee, 12, 60)
  file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE', request)
  return planeOf(request)
}

const MODE = { 1: 640, 2: 480, 3: 32, 4: 0x41 }
const NOTHING = { format: 0, width: 0, height: 0, stride: 0, size: 0, region: 0 }

describe('regions', () => {
  it('tells what the EDID region is for', () => {
    using machine = small()
    const info = new Uint8Array(0x30)
    new DataView(info.buffer).setUint32(0, 0x30, true)
    new DataView(info.buffer).setUint32(8, 9, true)
    machine.file.ioctl('VFIO_DEVICE_GET_REGION_INFO', info)
    expect([...new Uint32Array(info.buffer)]).toEqual([0x30, 0xb, 9, 0x20, 0x1000, 0, 0x2000, 0, 0x1_0002, 0, 1, 1])
  })

  it('lie one behind the other', () => {
    using machine = small()
    expect(machine.read(0, 4)).toEqual([0x34, 0x12, 0x11, 0x11])
    expect(machine.read(DISPI, 2)).toEqual([0xc5, 0xb0])
    expect(word(machine, EDID)).toBe(0x800)
    expect(() => machine.read(0x100, 1)).toThrow(code('EFAULT'))
    expect(() => machine.read(MEMORY + SMALL, 1)).toThrow(code('EFAULT'))
  })
})

describe('registers of the display interface', () => {
  it('are 16 bits wide', () => {
    using machine = small()
    set(machine, { 1: 0x1234 })
    expect(machine.read(DISPI + 2, 2)).toEqual([0x34, 0x12])
    expect([machine.read(DISPI + 2, 1), machine.read(DISPI + 4, 4)]).toEqual([[0], [0, 0, 0, 0]])
    machine.write(DISPI + 2, 0xff)
    machine.write(DISPI, 1, 2, 3, 4)
    expect([machine.read(DISPI, 2), machine.read(DISPI + 2, 2)]).toEqual([
      [0xc5, 0xb0],
      [0x34, 0x12],
    ])
  })

  it('are eleven, the last of which counts memory', () => {
    using machine = small()
    expect(machine.read(DISPI + 20, 2)).toEqual([64, 0])
    machine.write(DISPI + 22, 1, 1)
    expect(machine.read(DISPI + 22, 2)).toEqual([0, 0])
    expect([machine.read(REGISTERS + 0x400, 4), machine.read(REGISTERS + 0x600, 4)]).toEqual([
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ])
  })

  it('go back at a reset, and stay when the device is closed', () => {
    using machine = small()
    set(machine, MODE)
    machine.file.close()
    const reopened = machine.open()
    const width = new Uint8Array(2)
    reopened.read(width, BigInt(DISPI + 2))
    expect([...width]).toEqual([0x80, 2])
    reopened.ioctl('VFIO_DEVICE_RESET')
    reopened.read(width, BigInt(DISPI + 2))
    expect([...width]).toEqual([0, 0])
  })
})

describe('the EDID', () => {
  it('tells its limits and takes whole registers', () => {
    using machine = small()
    const registers = () => [0, 4, 8, 12, 16, 20].map((at) => word(machine, EDID + at))
    expect(registers()).toEqual([0x800, 0x400, 0, 800, 600, 0])
    for (const at of [0, 4, 8, 12, 16, 20]) machine.write(EDID + at, 1, 0, 0, 0)
    expect(registers()).toEqual([0x800, 0x400, 1, 800, 600, 1])
    machine.write(EDID + 8, 7)
    expect([word(machine, EDID + 8), machine.read(EDID + 8, 2), word(machine, EDID + 24)]).toEqual([1, [0, 0], 0])
  })

  it('shows to the guest while the link is up, as far as it goes', () => {
    using machine = small()
    machine.write(BLOB, 0, 0xff, 0xff, 0xff, 5, 6, 7, 8)
    machine.write(EDID + 8, 4, 0, 0, 0)
    expect(machine.read(REGISTERS, 4)).toEqual([0, 0, 0, 0])
    machine.write(EDID + 20, 1, 0, 0, 0)
    expect(machine.read(REGISTERS, 8)).toEqual([0, 0xff, 0xff, 0xff, 0, 0, 0, 0])
    machine.write(EDID + 20, 2, 0, 0, 0)
    expect(machine.read(REGISTERS, 4)).toEqual([0, 0, 0, 0])
    expect(machine.read(BLOB, 8)).toEqual([0, 0xff, 0xff, 0xff, 5, 6, 7, 8])
  })

  it('has 1024 bytes', () => {
    using machine = small()
    machine.write(BLOB + 0x3fc, 1, 2, 3, 4)
    machine.write(BLOB + 0x400, 1, 2, 3, 4)
    expect([machine.read(BLOB + 0x3fc, 4), machine.read(BLOB + 0x400, 4)]).toEqual([
      [1, 2, 3, 4],
      [0, 0, 0, 0],
    ])
  })
})

describe('video memory', () => {
  it('goes when the device is closed, but for who has it mapped', () => {
    using machine = small()
    const map = machine.map(MEMORY, SMALL)
    map.write(0n, 8, 0xabcdn)
    machine.file.close()
    const again = machine.open().mmap({ offset: MEMORY, length: SMALL })
    expect([map.read(0n, 8), again.read(0n, 8)]).toEqual([0xabcdn, 0n])
  })

  it('is accessed 8 KiB further on, unless repaired', () => {
    using sample = small()
    const map = sample.map(MEMORY, SMALL)
    sample.write(MEMORY, 1, 2, 3, 4)
    expect([map.read(0n, 4), map.read(0x2000n, 4)]).toEqual([0n, 0x0403_0201n])
    expect(() => sample.read(MEMORY + SMALL - 0x2000, 4)).toThrow(code('EFAULT'))
    using repaired = small(true)
    repaired.write(MEMORY + SMALL - 4, 1, 2, 3, 4)
    expect(repaired.map(MEMORY, SMALL).read(BigInt(SMALL - 4), 4)).toBe(0x0403_0201n)
  })
})

describe('planes', () => {
  it('show nothing while the display is off or cannot show the mode', () => {
    using machine = small(true)
    expect(query(machine)).toEqual(NOTHING)
    for (const wrong of [{ 4: 0x40 }, { 3: 24 }, { 1: 63 }, { 2: 63 }, { 9: 4000 }, { 1: 65535, 2: 65535 }]) {
      set(machine, { ...MODE, 9: 0, ...wrong })
      expect(query(machine)).toEqual(NOTHING)
    }
    set(machine, { ...MODE, 9: 0 })
    expect(query(machine, 0)).toEqual(NOTHING)
  })

  it('have an id for each mode', () => {
    using machine = small(true)
    set(machine, MODE)
    const plane = { format: 0x3432_5258, width: 640, height: 480, stride: 2560, size: 2560 * 480, region: 1 }
    expect([query(machine), query(machine)]).toEqual([plane, plane])
    set(machine, { 6: 1024, 2: 400 })
    expect(query(machine)).toEqual({ ...plane, height: 400, stride: 4096, size: 4096 * 400, region: 2 })
    set(machine, { 6: 0, 2: 480 })
    expect(query(machine)).toEqual(plane)
  })

  it('are refused once after each change of mode, unless repaired', () => {
    using machine = small()
    set(machine, MODE)
    expect(() => query(machine)).toThrow(code('ENOMEM'))
    expect(query(machine)).toMatchObject({ width: 640, region: 1 })
  })

  it('come as dma-bufs, if they begin at a page', () => {
    using machine = small(true)
    set(machine, MODE)
    query(machine)
    const fd = machine.file.ioctl('VFIO_DEVICE_GET_GFX_DMABUF', u32s(1))
    expect(machine.process.file(fd).closed).toBe(false)
    set(machine, { 8: 1 })
    query(machine)
    expect(() => machine.file.ioctl('VFIO_DEVICE_GET_GFX_DMABUF', u32s(2))).toThrow(code('EINVAL'))
    expect(() => machine.file.ioctl('VFIO_DEVICE_GET_GFX_DMABUF', u32s(3))).toThrow(code('ENOENT'))
    expect(() => machine.file.ioctl('VFIO_DEVICE_GET_GFX_DMABUF')).toThrow(code('EFAULT'))
  })

  it('are of the one kind', () => {
    using machine = small()
    expect(machine.file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE', planeRequest(3))).toBe(0)
    for (const flags of [0, 1, 4, 5, 6, 7]) {
      expect(() => machine.file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE', planeRequest(flags))).toThrow(code('EINVAL'))
    }
    expect(() => machine.file.ioctl('VFIO_DEVICE_SET_IRQS')).toThrow(code('EINVAL'))
  })

  it('are not remembered without end', () => {
    using machine = small(true)
    set(machine, MODE)
    expect(() => {
      for (let x = 0; x < 5000; x++) {
        set(machine, { 8: x })
        query(machine)
      }
    }).toThrow(code('ENOMEM'))
  })
})

describe('the driver', () => {
  it('shares its memory among the displays', async () => {
    using host = new SoftwareHost()
    host.mdev.registerParent('mbochs', mbochs({ megabytes: 80 }))
    const available = () =>
      ['small', 'medium', 'large'].map((type) => host.sysfs.read(`${TYPES}/mbochs-${type}/available_instances`).trim())
    expect(available()).toEqual(['20', '5', '1'])
    const large = host.mdev.create('mbochs-large')
    expect(host.sysfs.read(`/sys/bus/mdev/devices/${large.uuid}/vendor/memory`)).toBe('64 MB\n')
    expect(available()).toEqual(['4', '1', '0'])
    expect(() => host.mdev.create('mbochs-large')).toThrow(code('ENOSPC'))
    await large.remove()
    expect(available()).toEqual(['20', '5', '1'])
  })
})
