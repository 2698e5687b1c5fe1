/** Bus drivers of one's own: devices are allocated, registered, used through every door, asked back and put. */
import {
  type BusDevice,
  type BusDriverOps,
  type Group,
  type OlderBusDriverOps,
  type PciDriverOps,
  type VfioDeviceOps,
  Edu,
  EventFd,
  HostMemory,
  SoftwareHost,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_PCI_REQ_IRQ_INDEX,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  VFIO_TYPE1v2_IOMMU,
  VfioError,
} from 'vfio'
import { IOCTL, vfioDeviceInfo, vfioIrqInfo, vfioIrqSet, vfioRegionInfo } from 'vfio/uapi'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { outcome } from '../outcome.ts'

interface Scratch {
  bytes: Uint8Array
  calls: string[]
  event?: { signal(): void }
}
type Scratchpad = BusDevice<Scratch>

const UNKNOWN = 0x3bd0

/** A driver as the document writes it: sixteen bytes behind region 0, one interrupt. */
function scratchpad(): BusDriverOps<Scratchpad> {
  const note = (name: string) => (device: Scratchpad, what?: unknown) => {
    device.data.calls.push(
      typeof what === 'number' || typeof what === 'bigint' ? `${name} ${what > 9n ? 'id' : what}` : name,
    )
  }
  return {
    name: 'scratchpad',
    init: note('init'),
    release: note('release'),
    bindIommufd: (device, id) => void device.data.calls.push(id > 0 ? 'bindIommufd' : 'no id'),
    unbindIommufd: note('unbindIommufd'),
    attachIoas: (device, id) => void device.data.calls.push(id > 0 ? 'attachIoas' : 'no id'),
    detachIoas: note('detachIoas'),
    openDevice: (device, dma) => void device.data.calls.push(dma === device.dma ? 'openDevice' : 'another view'),
    closeDevice: note('closeDevice'),
    request: note('request'),
    match: (device, name) => name === device.name || name === 'pad',
    dmaUnmap: (device, iova, length) => {
      device.data.calls.push(`dmaUnmap ${iova}`)
      device.dma?.unpinPages(iova, Number(length / 4096n))
    },
    read: ({ data }, into, position) => {
      const part = data.bytes.subarray(Number(position), Number(position) + into.length)
      into.set(part)
      return part.length
    },
    write: ({ data }, from, position) => {
      data.bytes.set(from, Number(position))
      return from.length
    },
    ioctl: ({ data }, request, argument) => {
      switch (request) {
        case IOCTL.VFIO_DEVICE_GET_INFO: {
          const { argsz } = vfioDeviceInfo.decode(argument.read(vfioDeviceInfo.size))
          argument.write(vfioDeviceInfo.bytes({ argsz, flags: VFIO_DEVICE_FLAGS_PCI, numRegions: 1, numIrqs: 1 }))
          return 0
        }
        case IOCTL.VFIO_DEVICE_GET_REGION_INFO: {
          const asked = vfioRegionInfo.decode(argument.read(vfioRegionInfo.size))
          if (asked.index > 0) throw new VfioError('EINVAL', 'region')
          const flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
          argument.write(vfioRegionInfo.bytes({ ...asked, flags, size: 16n, offset: 0n }))
          return 0
        }
        case IOCTL.VFIO_DEVICE_GET_IRQ_INFO:
          argument.write(
            vfioIrqInfo.bytes({ ...vfioIrqInfo.decode(argument.read(vfioIrqInfo.size)), flags: 1, count: 1 }),
          )
          return 0
        case IOCTL.VFIO_DEVICE_SET_IRQS: {
          const set = vfioIrqSet.decode(argument.read(vfioIrqSet.size))
          delete data.event
          if ((set.flags & VFIO_IRQ_SET_DATA_EVENTFD) === 0) return 0
          const fd = new DataView(argument.read(4, vfioIrqSet.size).buffer).getInt32(0, true)
          data.event = argument.eventfd(fd)
          return 0
        }
        case IOCTL.VFIO_DEVICE_RESET:
          data.bytes.fill(0)
          return 0
        case UNKNOWN:
          argument.write(Uint8Array.of(7), 3)
          return 77
        default:
          throw new VfioError('ENOTTY', 'ioctl')
      }
    },
    deviceFeature: ({ data }, flags, _argument, argsz) => {
      data.calls.push(`feature ${flags & 0xffff} ${argsz}`)
      return 0
    },
  }
}

function scratch(): Scratch {
  return { bytes: new Uint8Array(16), calls: [] }
}

function open(host: SoftwareHost, number: number): Group {
  const container = host.openContainer()
  const group = host.openGroup(number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  return group
}

describe('a device of a bus driver', () => {
  let host: SoftwareHost
  let device: Scratchpad

  beforeEach(() => {
    host = new SoftwareHost()
    device = host.vfio.allocBusDevice('pad0', scratchpad(), { data: scratch(), parent: host.addDevice('pad0') })
  })
  afterEach(() => host.close())

  it('is there from its registration to the end of its last use', async () => {
    expect(device).toMatchObject({ registered: false, index: undefined, group: undefined, openCount: 0 })
    host.vfio.registerGroupDev(device)
    expect(device).toMatchObject({ registered: true, index: 0, group: 0 })
    expect(host.sysfs.list('/sys/devices/platform/pad0/vfio-dev')).toEqual(['vfio0'])
    expect(outcome(() => host.vfio.registerGroupDev(device))).toBe('EBUSY')
    expect(outcome(() => host.vfio.putDevice(device))).toBe('EBUSY')
    const group = open(host, 0)
    const user = group.getDevice('pad')
    expect(device.openCount).toBe(1)
    let gone = false
    const unregistered = host.vfio.unregisterGroupDev(device).then(() => (gone = true))
    expect(outcome(() => group.getDevice('pad0'))).toBe('ENODEV')
    await Promise.resolve()
    expect(gone).toBe(false)
    user.close()
    await unregistered
    expect(device).toMatchObject({ registered: false, index: undefined, openCount: 0 })
    expect(host.dev.exists('/dev/vfio/0')).toBe(false)
    host.vfio.putDevice(device)
    host.vfio.putDevice(device)
    await host.vfio.unregisterGroupDev(device)
    expect(device.data.calls).toEqual(['init', 'openDevice', 'request 0', 'closeDevice', 'release'])
    expect(outcome(() => host.vfio.registerGroupDev(device))).toBe('EBUSY')
  })

  it('answers typed questions and exact bytes alike', () => {
    host.vfio.registerGroupDev(device)
    const group = open(host, 0)
    using user = group.getDevice('pad0')
    expect(user.info()).toEqual({ flags: VFIO_DEVICE_FLAGS_PCI, numRegions: 1, numIrqs: 1 })
    const region = user.region(0)
    region.write(4n, Uint8Array.of(1, 2, 3))
    expect([...region.read(3n, 5)]).toEqual([0, 1, 2, 3, 0])
    expect(outcome(() => user.region(1))).toBe('EINVAL')
    using event = EventFd.create()
    using vectors = user.irq(0).enable([event])
    device.data.event?.signal()
    expect(event.read()).toBe(1n)
    vectors.close()
    user.reset()
    expect([...region.read(4n, 3)]).toEqual([0, 0, 0])
    user.close()
    group.close()

    using process = host.process()
    const container = process.open('/dev/vfio/vfio')
    const file = process.open('/dev/vfio/0')
    file.ioctl('VFIO_GROUP_SET_CONTAINER', new Uint8Array(Int32Array.of(container.fd).buffer))
    container.ioctl('VFIO_SET_IOMMU', VFIO_TYPE1v2_IOMMU)
    const raw = process.file(file.ioctl('VFIO_GROUP_GET_DEVICE_FD', 'pad0'))
    const info = vfioDeviceInfo.bytes({ argsz: 24 })
    raw.ioctl('VFIO_DEVICE_GET_INFO', info)
    expect(vfioDeviceInfo.decode(info)).toMatchObject({ argsz: 24, numRegions: 1 })
    const bytes = new Uint8Array(8)
    expect(raw.ioctl(UNKNOWN, bytes)).toBe(77)
    expect([...bytes]).toEqual([0, 0, 0, 7, 0, 0, 0, 0])
    expect(outcome(() => raw.ioctl(UNKNOWN + 1))).toBe('ENOTTY')
    raw.ioctl('VFIO_DEVICE_FEATURE', new Uint8Array(Uint32Array.of(16, (1 << 17) | 99, 0, 0).buffer))
    const wanted = process.eventfd()
    const set = new Uint8Array(24)
    const flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER
    set.set(vfioIrqSet.bytes({ argsz: 24, flags, index: 0, start: 0, count: 1 }))
    new DataView(set.buffer).setInt32(20, wanted.fd, true)
    raw.ioctl('VFIO_DEVICE_SET_IRQS', set)
    device.data.event?.signal()
    const counter = new Uint8Array(8)
    wanted.read(counter)
    expect(counter[0]).toBe(1)
    new DataView(set.buffer).setInt32(20, raw.fd, true)
    expect(outcome(() => raw.ioctl('VFIO_DEVICE_SET_IRQS', set))).toBe('EINVAL')
    expect(device.data.calls).toContain('feature 99 8')
  })

  it('hears of the iommufd that it is bound to', () => {
    host.vfio.registerGroupDev(device)
    using iommufd = host.iommufd()
    const ioas = iommufd.allocIoas()
    const user = iommufd.bind('pad0')
    user.attach(ioas)
    user.detach()
    user.detach()
    user.attach(ioas)
    user.close()
    expect(device.data.calls).toEqual([
      'init',
      ...['bindIommufd', 'openDevice', 'attachIoas', 'detachIoas', 'attachIoas', 'closeDevice', 'unbindIommufd'],
    ])
  })

  it('is asked to unpin what goes, and reaches memory while it is open', () => {
    const soft = host.vfio.allocBusDevice('soft', scratchpad(), { data: scratch() })
    expect(outcome(() => host.vfio.registerGroupDev(soft))).toBe('EINVAL')
    host.vfio.registerEmulatedIommuDev(soft)
    const container = host.openContainer()
    const group = host.openGroup(soft.group ?? -1)
    group.setContainer(container)
    container.setIommu(VFIO_TYPE1v2_IOMMU)
    using user = group.getDevice('soft')
    using memory = HostMemory.allocate(8192)
    container.mapDma({ iova: 0x10000n, memory, read: true, write: true })
    soft.dma?.pinPages(0x10000n, 2, { read: true, write: true })
    soft.dma?.writeU32(0x11000n, 0xfeed)
    expect(memory.readU32(4096)).toBe(0xfeed)
    expect(container.unmapDma({ iova: 0x10000n, length: 8192n })).toBe(8192n)
    expect(soft.data.calls).toContain(`dmaUnmap ${0x10000}`)
    user.close()
    expect(soft.dma).toBeUndefined()
  })

  it('is asked again and again, with a growing count', async () => {
    vi.useFakeTimers()
    try {
      const slow = host.vfio.allocBusDevice('slow', scratchpad(), { data: scratch(), requestInterval: 100 })
      host.vfio.registerEmulatedIommuDev(slow)
      const user = open(host, slow.group ?? -1).getDevice('slow')
      const counts: number[] = []
      user.on('request', (count) => counts.push(count))
      const gone = host.vfio.unregisterGroupDev(slow)
      vi.advanceTimersByTime(250)
      expect(counts).toEqual([0, 1, 2])
      expect(slow.data.calls.filter((call) => call.startsWith('request'))).toEqual([
        'request 0',
        'request 1',
        'request 2',
      ])
      user.close()
      await gone
      vi.advanceTimersByTime(1000)
      expect(counts).toEqual([0, 1, 2])
    } finally {
      vi.useRealTimers()
    }
  })

  it('can refuse to be made, bound, attached and opened, and nothing is left of it', () => {
    const refusing = (name: keyof BusDriverOps<Scratchpad>): BusDriverOps<Scratchpad> => ({
      ...scratchpad(),
      [name]: () => {
        throw new VfioError('EPERM', name)
      },
    })
    expect(outcome(() => host.vfio.allocBusDevice('no', refusing('init'), { data: scratch() }))).toBe('EPERM')
    using iommufd = host.iommufd()
    const ioas = iommufd.allocIoas()
    for (const name of ['bindIommufd', 'openDevice'] as const) {
      const parent = host.addDevice(name)
      const made = host.vfio.allocBusDevice(name, refusing(name), { data: scratch(), parent })
      host.vfio.registerGroupDev(made)
      expect(outcome(() => iommufd.bind(name))).toBe('EPERM')
      expect(made.openCount).toBe(0)
      expect(host.group(made.group ?? -1).explain().viable).toBe(true)
      expect(made.data.calls).not.toContain('closeDevice')
    }
    const parent = host.addDevice('attach')
    const attach = host.vfio.allocBusDevice('attach', refusing('attachIoas'), { data: scratch(), parent })
    host.vfio.registerGroupDev(attach)
    using user = iommufd.bind('attach')
    expect(outcome(() => user.attach(ioas))).toBe('EPERM')
    user.close()
    ioas.destroy()
  })

  it('goes back to where it was attached when its driver refuses the move', () => {
    const wanted: number[] = []
    const driver: BusDriverOps<Scratchpad> = {
      ...scratchpad(),
      attachIoas: () => {
        if (wanted.push(0) > 1) throw new VfioError('EBUSY', 'attach')
      },
    }
    const made = host.vfio.allocBusDevice('picky', driver, { data: scratch(), parent: host.addDevice('picky') })
    host.vfio.registerGroupDev(made)
    using iommufd = host.iommufd()
    const [first, second] = [iommufd.allocIoas(), iommufd.allocIoas()]
    using memory = HostMemory.allocate(4096)
    first.map({ iova: 0x1000n, memory, read: true, write: true })
    using user = iommufd.bind('picky')
    user.attach(first)
    expect(outcome(() => user.attach(second))).toBe('EBUSY')
    made.dma?.writeU32(0x1000n, 5)
    expect(memory.readU32(0)).toBe(5)
    second.destroy()
  })

  it.each([
    ['ops', 7],
    ['ops.name', { name: 7 }],
    ...(['init', 'read', 'ioctl', 'mmap', 'match', 'request', 'deviceFeature', 'attachIoas'] as const).map(
      (name) => [`ops.${name}`, { name: 'x', [name]: 7 }] as [string, unknown],
    ),
  ])('is not made of junk: %s', (member, ops) => {
    expect(() => host.vfio.allocBusDevice('junk', ops as never)).toThrow(
      expect.objectContaining({
        name: 'TypeError',
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining(member),
      }),
    )
  })

  it('is not taken for one where it is none', () => {
    for (const junk of [undefined, null, 7, {}, host]) {
      expect(() => host.vfio.registerGroupDev(junk as never)).toThrow(TypeError)
      expect(() => host.vfio.unregisterGroupDev(junk as never)).toThrow(TypeError)
      expect(() => host.vfio.putDevice(junk as never)).toThrow(TypeError)
    }
    const orphan = host.vfio.allocBusDevice('o', { name: 'o' }, { parent: { name: 'o', path: '/x', group: {} } })
    expect(() => host.vfio.registerGroupDev(orphan)).toThrow(TypeError)
    expect(() => host.vfio.allocDevice('x', { name: 'x', getInfo: () => 7 } as never)).toThrow(TypeError)
    const whole: VfioDeviceOps = { name: 'x', getInfo, getRegionInfo: none, getIrqInfo: none, setIrqs: none }
    expect(() => host.vfio.allocDevice('x', { ...whole, migration: { flags: 1 } } as never)).toThrow(/ops.migration/)
    expect(() => host.vfio.allocDevice('x', whole, { requestInterval: -1 })).toThrow(RangeError)
    expect(() => host.addDevice('pad0')).toThrow(expect.objectContaining({ code: 'EEXIST' }))
    expect(() => host.addDevice('a/b')).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })

  it('answers EINVAL where its driver left everything out', () => {
    const empty = host.vfio.allocBusDevice('empty', { name: 'empty' })
    host.vfio.registerEmulatedIommuDev(empty)
    using user = open(host, empty.group ?? -1).getDevice('empty')
    expect([() => user.info(), () => user.reset(), () => user.region(0)].map(outcome)).toEqual([
      'EINVAL',
      'EINVAL',
      'EINVAL',
    ])
    expect(outcome(() => user.migration)).toBe('ENOTTY')
    expect(outcome(() => user.features.get(99, 8))).toBe('ENOTTY')
  })
})

const getInfo = () => ({ flags: 0, numRegions: 0, numIrqs: 0 })
const none = (): never => {
  throw new VfioError('EINVAL', 'none')
}

describe('a device of an older bus driver', () => {
  it('is opened and released with its file', () => {
    using host = new SoftwareHost()
    const calls: string[] = []
    const older: OlderBusDriverOps<BusDevice<string>> = {
      open: (device) => void calls.push(`open ${device.data}`),
      release: (device) => void calls.push(`release ${device.data}`),
      read: (device, into, position) => into.fill(Number(position)).length + device.openCount - device.openCount,
      ioctl: (_device, request) => (request === IOCTL.VFIO_DEVICE_RESET ? 0 : none()),
    }
    const device = host.vfio.allocOlderBusDevice('old', older, { data: 'private' })
    host.vfio.registerEmulatedIommuDev(device)
    const user = open(host, device.group ?? -1).getDevice('old')
    user.reset()
    expect(outcome(() => user.info())).toBe('EINVAL')
    user.close()
    expect(calls).toEqual(['open private', 'release private'])
    const closed = host.vfio.allocOlderBusDevice('closed', {})
    host.vfio.registerEmulatedIommuDev(closed)
    const group = open(host, closed.group ?? -1)
    expect(outcome(() => group.getDevice('closed'))).toBe('EINVAL')
    expect(() => host.vfio.allocOlderBusDevice('x', { open: 1 } as never)).toThrow(/ops.open/)
  })
})

describe('a PCI driver that brings its functions to VFIO', () => {
  it('gives the function back when its user has let go', () => {
    using host = new SoftwareHost()
    const devices = new Map<string, BusDevice<Scratch>>()
    const driver: PciDriverOps = {
      name: 'pad-pci',
      managesDma: true,
      probe: (pci) => {
        const device = host.vfio.allocBusDevice(pci.name, scratchpad(), { data: scratch(), parent: pci })
        host.vfio.registerGroupDev(device)
        devices.set(pci.name, device)
      },
      remove: (pci, done) => {
        const device = devices.get(pci.name)
        if (device === undefined) return done()
        void host.vfio.unregisterGroupDev(device).then(() => {
          host.vfio.putDevice(device)
          done()
        })
      },
    }
    host.pci.addDriver(driver)
    host.pci.add('0000:00:04.0', new Edu(), { driver: 'pad-pci' })
    using user = open(host, 0).getDevice('0000:00:04.0')
    expect(user.info().numRegions).toBe(1)
    expect(host.sysfs.list('/sys/bus/pci/drivers/pad-pci')).toContain('0000:00:04.0')
  })

  it('signals REQ to whoever uses a function of vfio-pci that goes', async () => {
    using host = new SoftwareHost()
    host.pci.add('0000:00:04.0', new Edu(), { driver: 'vfio-pci' })
    const user = open(host, 0).getDevice('0000:00:04.0')
    using asked = EventFd.create()
    user.irq(VFIO_PCI_REQ_IRQ_INDEX).enable([asked])
    host.sysfs.write('/sys/bus/pci/drivers/vfio-pci/unbind', '0000:00:04.0')
    expect(asked.read()).toBe(1n)
    expect(host.dev.exists('/dev/vfio/0')).toBe(true)
    user.close()
    await Promise.resolve()
    expect(host.dev.exists('/dev/vfio/0')).toBe(false)
  })
})
