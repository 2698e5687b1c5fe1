/** The mdpy display, as a process sees it. */
import { describe, expect, it } from 'vitest'
import { mdpy, SoftwareHost } from '../../ts/index.ts'
import { displayMachine, planeOf, planeRequest } from './displays.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const BAR = 0x1000
const VGA_MEMORY = 0x20_0000
const TYPES = '/sys/class/mdev_bus/mdpy/mdev_supported_types'

describe('configuration space', () => {
  it('names the device and carries its mode in a capability', () => {
    using machine = displayMachine(mdpy(), 'mdpy-xga')
    expect(machine.read(0, 4)).toEqual([0x36, 0x1b, 0x0f, 0x00])
    expect(machine.read(0x34, 1)).toEqual([0x40])
    const words = new Uint32Array(Uint8Array.from(machine.read(0x40, 16)).buffer)
    expect([...words]).toEqual([0x10_0009, 0x3432_5258, 1024, 768])
  })

  it('has one BAR, of the size of its memory', () => {
    using machine = displayMachine(mdpy(), 'mdpy-hd')
    machine.write(0x10, 0xff, 0xff, 0xff, 0xff)
    expect(machine.read(0x10, 4)).toEqual([0x08, 0x00, 0x80, 0xff])
    machine.write(0x10, 0x34, 0x12, 0, 0xe0)
    expect(machine.read(0x10, 4)).toEqual([0x38, 0x12, 0, 0xe0])
    for (let at = 0x14; at < 0x28; at += 4) {
      machine.write(at, 0xff, 0xff, 0xff, 0xff)
      expect(machine.read(at, 4)).toEqual([0, 0, 0, 0])
    }
  })

  it('takes no other write', () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    const before = machine.read(0, 0xfc)
    for (let at = 0; at < 0xfc; at += 4) if (at !== 0x10) machine.write(at, 0xff, 0xff, 0xff, 0xff)
    expect(machine.read(0, 0xfc)).toEqual(before)
  })

  it('ends a byte early, with nothing up to the BAR', () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    expect(machine.read(0xfc, 4)).toHaveLength(4)
    for (const [at, length] of [
      [0xff, 1],
      [0xfe, 4],
      [0x100, 4],
      [0xfff, 1],
    ] as const) {
      expect(() => machine.read(at, length)).toThrow(code('EFAULT'))
    }
    expect(() => machine.read(BAR + VGA_MEMORY, 1)).toThrow(code('EFAULT'))
    expect(() => machine.write(2 ** 42, 0)).toThrow(code('EFAULT'))
  })
})

describe('video memory', () => {
  it('shows a gradient, again after a reset', () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    const map = machine.map(BAR, VGA_MEMORY)
    const last = BigInt(479 * 640 * 4)
    expect([map.read(0n, 4), map.read(last, 4)]).toEqual([0n, 0xfefe_fefen])
    map.write(last, 8, 0x1122_3344_5566_7788n)
    expect([map.read(last, 1), map.read(last, 2), map.read(last, 8)]).toEqual([0x88n, 0x7788n, 0x1122_3344_5566_7788n])
    machine.file.ioctl('VFIO_DEVICE_RESET')
    expect(map.read(last, 8)).toBe(0xfefe_fefe_fefe_fefen)
    map.close()
    expect(() => map.read(0n, 1)).toThrow(code('EFAULT'))
  })

  it('is mapped shared and from its start on', () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    machine.map(BAR, 0x1000).close()
    expect(() => machine.map(0, 0x1000)).toThrow(code('EINVAL'))
    expect(() => machine.map(BAR + 0x1000, 0x1000)).toThrow(code('EINVAL'))
    expect(() => machine.map(BAR, VGA_MEMORY + 0x1000)).toThrow(code('EINVAL'))
    expect(() => machine.map(BAR, 0x1000, { shared: false })).toThrow(code('EINVAL'))
  })

  it('stays with the device when it is closed, and with who has it mapped when it goes', async () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    machine.map(BAR, 0x1000).write(0n, 4, 0xabcdn)
    machine.file.close()
    const reopened = machine.open()
    const map = reopened.mmap({ offset: BAR, length: 0x1000 })
    expect(map.read(0n, 4)).toBe(0xabcdn)
    reopened.close()
    await machine.mdev.remove()
    expect(map.read(0n, 4)).toBe(0xabcdn)
  })

  it('is read and written at its first bytes wherever the access is, unless repaired', () => {
    using sample = displayMachine(mdpy(), 'mdpy-vga')
    sample.write(BAR + 0x100, 1, 2, 3, 4)
    expect([sample.read(BAR, 4), sample.read(BAR + 0x8000, 4)]).toEqual([
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ])
    using repaired = displayMachine(mdpy({ repaired: true }), 'mdpy-vga')
    repaired.write(BAR + 0x100, 1, 2, 3, 4)
    expect([repaired.read(BAR, 4), repaired.read(BAR + 0x100, 4)]).toEqual([
      [0, 0, 0, 0],
      [1, 2, 3, 4],
    ])
  })

  it('is reached by the typed door too', () => {
    using host = new SoftwareHost()
    host.mdev.registerParent('mdpy', mdpy({ repaired: true }))
    const mdev = host.mdev.create('mdpy-vga')
    using container = host.openContainer()
    using group = host.openGroup(mdev.group?.number ?? -1)
    group.setContainer(container)
    container.setIommu(1)
    using device = group.getDevice(mdev.uuid)
    const bar = device.region(0)
    bar.writeU32(0x40, 0x55aa)
    using map = bar.mmap()
    expect([map.readU32(0x40), bar.readU32(0x40), device.region(7).readU16(0)]).toEqual([0x55aa, 0x55aa, 0x1b36])
  })
})

describe('requests', () => {
  it('describes the plane as a region', () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    const request = planeRequest(4, 7)
    expect(machine.file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE', request)).toBe(0)
    expect(planeOf(request)).toEqual({
      ...{ format: 0x3432_5258, width: 640, height: 480 },
      ...{ stride: 2560, size: VGA_MEMORY, region: 16 },
    })
    expect(machine.file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE', planeRequest(5))).toBe(0)
    for (const flags of [0, 1, 2, 3, 6, 0x104]) {
      expect(() => machine.file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE', planeRequest(flags))).toThrow(code('EINVAL'))
    }
    expect(() => machine.file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE', planeRequest(4, 0, 59))).toThrow(code('EINVAL'))
    expect(() => machine.file.ioctl('VFIO_DEVICE_QUERY_GFX_PLANE')).toThrow(code('EFAULT'))
    expect(() => machine.file.ioctl('VFIO_DEVICE_GET_GFX_DMABUF')).toThrow(code('ENOTTY'))
  })

  it('refuses interrupts without looking at the request', () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    expect(() => machine.file.ioctl('VFIO_DEVICE_SET_IRQS')).toThrow(code('EINVAL'))
  })

  it('has interrupt indexes once it was asked what it is, and for good', () => {
    using machine = displayMachine(mdpy(), 'mdpy-vga')
    const info = () => new Uint8Array(Uint32Array.of(16, 0, 1, 9).buffer)
    expect(() => machine.file.ioctl('VFIO_DEVICE_GET_IRQ_INFO', info())).toThrow(code('EINVAL'))
    machine.file.ioctl('VFIO_DEVICE_GET_INFO', new Uint8Array(Uint32Array.of(16, 0, 0, 0).buffer))
    machine.file.close()
    const answer = info()
    machine.open().ioctl('VFIO_DEVICE_GET_IRQ_INFO', answer)
    expect([...new Uint32Array(answer.buffer)]).toEqual([16, 0, 1, 0])
  })
})

describe('the driver', () => {
  it('describes its types and counts its displays together', () => {
    using host = new SoftwareHost()
    host.mdev.registerParent('mdpy', mdpy({ instances: 2 }))
    expect(host.sysfs.read(`${TYPES}/mdpy-hd/description`)).toBe('virtual display, 1920x1080 framebuffer\n')
    const mdev = host.mdev.create('mdpy-hd')
    expect(host.sysfs.read(`/sys/bus/mdev/devices/${mdev.uuid}/vendor/resolution`)).toBe('1920x1080\n')
    expect(host.sysfs.read(`${TYPES}/mdpy-vga/available_instances`)).toBe('1\n')
    host.mdev.create('mdpy-vga')
    expect(() => host.mdev.create('mdpy-xga')).toThrow(code('EUSERS'))
  })

  it('takes a number of instances', () => {
    expect(() => mdpy({ instances: -1 })).toThrow(RangeError)
  })
})
