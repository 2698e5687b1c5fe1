/** Groups of 2011: who is in them, when they are viable, merging and unmerging, who may use their IOMMU. */
import {
  EventFd,
  HostMemory,
  Nvme,
  SoftwareHost,
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_REGION_INFO_FLAG_READ,
  VfioError,
  type VfioDeviceOps,
} from 'vfio'
import { deviceRequests, type DeviceOps, type MachineDevice, Vfio2011 } from 'vfio/2011'
import { describe, expect, it } from 'vitest'
import { outcome } from '../outcome.ts'
import { bind, EDU, machine, OTHER, TWINS } from './machine.ts'

/** What several calls were refused with. */
const outcomes = (...runs: (() => unknown)[]): unknown[] => runs.map((run) => outcome(run))

const CONFIG = 7n << 40n

/** Lets a function decode its registers and do DMA. */
function wake(device: { write(position: bigint, from: Uint8Array): number }): void {
  device.write(CONFIG + 4n, Uint8Array.of(6, 0))
}

/** Has an edu device copy 16 bytes from an address into its buffer and from there to another. */
function copy(device: { write(position: bigint, from: Uint8Array): number }, from: bigint, to: bigint): void {
  const register = (at: bigint, value: bigint) => device.write(at, new Uint8Array(BigUint64Array.of(value).buffer))
  for (const [source, target, command] of [
    [from, 0x40000n, 1n],
    [0x40000n, to, 3n],
  ] as const) {
    register(0x80n, source)
    register(0x88n, target)
    register(0x90n, 16n)
    register(0x98n, command)
  }
}

describe('bus drivers', () => {
  interface Driver {
    opened: number
    asked: string[]
  }
  const ops: DeviceOps<Driver> = {
    match: (device, name) => name === device.name || name === 'the one',
    open: (driver) => void driver.opened++,
    release: (driver) => void driver.opened--,
    read: (_driver, into) => into.fill(7).length,
  }

  it('add, bind, unbind with their data, and take away', async () => {
    using host = new SoftwareHost()
    const vfio = new Vfio2011(host)
    const [one, two] = [host.addDevice('one'), host.addDevice('two')]
    const driver: Driver = { opened: 0, asked: [] }
    vfio.groupAddDev(one, ops)
    expect(vfio.groups).toEqual(['platform:0'])
    expect(host.dev.exists('/dev/vfio/platform:0')).toBe(true)
    expect(outcome(() => vfio.groupAddDev(one, ops))).toBe('EEXIST')
    using group = vfio.openGroup('platform:0')
    expect(group.info()).toEqual({ viable: false, mmLocked: false })
    expect(
      outcomes(
        () => group.openIommu(),
        () => group.openDevice('one'),
      ),
    ).toEqual(['EPERM', 'ENODEV'])
    expect(outcome(() => vfio.bindDev(two, driver))).toBe('ENODEV')
    vfio.bindDev(one, driver)
    expect(outcome(() => vfio.bindDev(one, driver))).toBe('EBUSY')
    expect(outcome(() => vfio.groupDelDev(one))).toBe('EBUSY')
    expect(group.info()).toEqual({ viable: true, mmLocked: false })
    expect(outcome(() => group.openDevice('another'))).toBe('ENODEV')
    const device = group.openDevice('the one')
    using again = group.openDevice('one')
    expect(driver.opened).toBe(1)
    expect([...device.read(0n, 2)]).toEqual([7, 7])
    expect(
      outcomes(
        () => device.write(0n, Uint8Array.of(1)),
        () => device.info(),
      ),
    ).toEqual(['EINVAL', 'EINVAL'])
    const counts: number[] = []
    device.on('request', (count) => counts.push(count))
    const unbound = vfio.unbindDev(one)
    await expect(vfio.unbindDev(one)).rejects.toMatchObject({ code: 'EBUSY' })
    expect(counts).toEqual([0])
    expect(group.info().viable).toBe(false)
    device.close()
    again.close()
    expect(await unbound).toBe(driver)
    expect(driver.opened).toBe(0)
    await expect(vfio.unbindDev(one)).rejects.toMatchObject({ code: 'ENODEV' })
    vfio.groupDelDev(one)
    expect(outcome(() => vfio.groupDelDev(one))).toBe('ENODEV')
    expect(host.dev.exists('/dev/vfio/platform:0')).toBe(false)
    expect(
      outcomes(
        () => group.info(),
        () => vfio.openGroup('platform:0'),
      ),
    ).toEqual(['ENODEV', 'ENOENT'])
  })

  it('are refused where they give junk', () => {
    using host = new SoftwareHost()
    const vfio = new Vfio2011(host)
    const device = host.addDevice('one')
    for (const junk of [undefined, null, 7, 'x', {}]) {
      expect(() => vfio.groupAddDev(junk as never, {})).toThrow(TypeError)
      expect(() => vfio.groupDelDev(junk as never)).toThrow(TypeError)
      expect(() => vfio.bindDev(junk as never, 1)).toThrow(TypeError)
      expect(() => vfio.openGroup(junk as never)).toThrow(typeof junk === 'string' ? /ENOENT/ : TypeError)
      expect(() => new Vfio2011(junk as never)).toThrow(TypeError)
    }
    for (const name of ['match', 'open', 'release', 'read', 'write', 'ioctl', 'mmap']) {
      expect(() => vfio.groupAddDev(device, { [name]: 7 } as never)).toThrow(new RegExp(`ops.${name}`))
    }
    expect(() => vfio.groupAddDev({ name: 'x', group: {} }, {})).toThrow(TypeError)
    const orphan: MachineDevice = { name: 'orphan', group: undefined }
    expect(outcome(() => vfio.groupAddDev(orphan, {}))).toBe('EINVAL')
    expect(vfio.groups).toEqual([])
  })

  it('can refuse an open, which leaves nothing behind', () => {
    using host = new SoftwareHost()
    const vfio = new Vfio2011(host)
    const device = host.addDevice('one')
    vfio.groupAddDev<number>(device, {})
    vfio.bindDev(device, 0)
    using group = vfio.openGroup('platform:0')
    expect(outcome(() => group.openDevice('one'))).toBe('EINVAL')
    expect(group.info()).toEqual({ viable: true, mmLocked: false })
  })
})

describe('a group', () => {
  it('is viable when all its functions are bound', () => {
    using made = machine()
    const { host, vfio, groupOf } = made
    bind(host, TWINS[0])
    const name = groupOf(TWINS[0])
    expect(vfio.groups).toEqual([name])
    using group = vfio.openGroup(name)
    expect(group.info().viable).toBe(false)
    expect(outcome(() => group.openDevice(TWINS[0]))).toBe('EPERM')
    bind(host, TWINS[1])
    expect(group.info().viable).toBe(true)
    using device = group.openDevice(TWINS[0])
    expect(device.info()).toEqual({ reset: false, numRegions: 9, numIrqs: 5 })
    expect(group.info().mmLocked).toBe(true)
    device.close()
    host.sysfs.write('/sys/bus/pci/drivers/vfio-pci-2011/unbind', TWINS[1])
    expect(group.info()).toEqual({ viable: false, mmLocked: false })
    host.sysfs.write('/sys/bus/pci/drivers/vfio-pci-2011/unbind', TWINS[0])
    expect(vfio.groups).toEqual([])
    expect(outcome(() => group.info())).toBe('ENODEV')
  })

  it('is not viable while a host driver or today’s VFIO has its DMA', () => {
    using made = machine(EDU)
    const { host, vfio, groupOf } = made
    using group = vfio.openGroup(groupOf(EDU))
    const iommu = group.openIommu()
    expect(host.group(host.groupOf(EDU).number).explain().viable).toBe(false)
    iommu.close()
    expect(host.group(host.groupOf(EDU).number).explain().viable).toBe(true)
    bind(host, TWINS[0])
    host.sysfs.write(`/sys/bus/pci/devices/${TWINS[1]}/driver_override`, 'snd')
    host.pci.addDriver({ name: 'snd' })
    using shared = vfio.openGroup(groupOf(TWINS[0]))
    expect(shared.info().viable).toBe(false)
    expect(outcome(() => shared.openIommu())).toBe('EPERM')
  })

  it('is used by the memory of one process at a time', () => {
    using made = machine(EDU)
    const { host, vfio, groupOf } = made
    using other = host.process()
    using group = vfio.openGroup(groupOf(EDU))
    using same = vfio.openGroup(groupOf(EDU), other)
    const iommu = group.openIommu()
    expect(same.info()).toEqual({ viable: true, mmLocked: true })
    expect(
      outcomes(
        () => same.openIommu(),
        () => same.openDevice(EDU),
      ),
    ).toEqual(['EPERM', 'EPERM'])
    iommu.close()
    same.openIommu().close()
  })

  it('belongs to whom its file belongs', () => {
    using made = machine(EDU)
    const { host, vfio, groupOf } = made
    using user = host.process({ uid: 1000, gid: 1000 })
    expect(outcome(() => vfio.openGroup(groupOf(EDU), user))).toBe('EACCES')
    host.dev.chown(`/dev/vfio/${groupOf(EDU)}`, 1000, 1000)
    vfio.openGroup(groupOf(EDU), user).close()
  })
})

describe('merged groups', () => {
  it('share one IOMMU: what is mapped by one is reached by the devices of both', () => {
    using made = machine(EDU, OTHER)
    const { vfio, groupOf } = made
    using first = vfio.openGroup(groupOf(EDU))
    using second = vfio.openGroup(groupOf(OTHER))
    using iommu = first.openIommu()
    using memory = HostMemory.allocate(4096)
    memory.write(0, Uint8Array.of(1, 2, 3))
    iommu.mapDma({ iova: 0x10000n, memory, read: true, write: true })
    first.merge(second)
    expect(second.info()).toEqual({ viable: true, mmLocked: true })
    using left = first.openDevice(EDU)
    using right = second.openDevice(OTHER)
    for (const [device, to] of [
      [left, 0x10100n],
      [right, 0x10200n],
    ] as const) {
      wake(device)
      copy(device, 0x10000n, to)
      expect([...memory.read(Number(to - 0x10000n), 3)]).toEqual([1, 2, 3])
    }
    using same = second.openIommu()
    same.unmapDma({ iova: 0x10000n, length: 4096 })
    copy(left, 0x10000n, 0x10100n)
    expect(iommu.faults.total).toBeGreaterThan(0n)
  })

  it('are merged only where the other is not in use', () => {
    using made = machine(EDU, OTHER, ...TWINS)
    const { vfio, groupOf } = made
    using first = vfio.openGroup(groupOf(EDU))
    using second = vfio.openGroup(groupOf(OTHER))
    using third = vfio.openGroup(groupOf(TWINS[0]))
    const iommu = second.openIommu()
    expect(outcome(() => first.merge(second))).toBe('EBUSY')
    iommu.close()
    const device = second.openDevice(OTHER)
    expect(outcome(() => first.merge(second))).toBe('EBUSY')
    device.close()
    expect(outcome(() => first.merge(first))).toBe('EINVAL')
    first.merge(second)
    expect(outcome(() => first.merge(second))).toBe('EINVAL')
    expect(outcome(() => second.merge(first))).toBe('EINVAL')
    expect(outcome(() => third.merge(second))).toBe('EBUSY')
    second.merge(third)
    expect(second.info().mmLocked).toBe(false)
    using iommu2 = third.openIommu()
    expect([first, second, third].map((group) => group.info().mmLocked)).toEqual([true, true, true])
    expect(iommu2.info().alignment).toBe(4096n)
  })

  it('are unmerged where no device of the group is open; the others keep what they have', () => {
    using made = machine(EDU, OTHER)
    const { vfio, groupOf } = made
    using first = vfio.openGroup(groupOf(EDU))
    using second = vfio.openGroup(groupOf(OTHER))
    expect(outcome(() => first.unmerge())).toBe('EINVAL')
    first.merge(second)
    using iommu = first.openIommu()
    using memory = HostMemory.allocate(4096)
    iommu.mapDma({ iova: 0n, memory, read: true, write: true })
    const device = second.openDevice(OTHER)
    expect(outcome(() => second.unmerge())).toBe('EBUSY')
    device.close()
    second.unmerge()
    expect(outcome(() => second.unmerge())).toBe('EINVAL')
    expect([first.info().mmLocked, second.info().mmLocked]).toEqual([true, false])
    using own = second.openIommu()
    own.mapDma({ iova: 0n, memory, read: true, write: true })
    expect(outcome(() => iommu.mapDma({ iova: 0n, memory, read: true, write: true }))).toBe('EEXIST')
  })

  it('stay together while their IOMMU is in use, although their files are closed; then they part', () => {
    using made = machine(EDU, OTHER)
    const { vfio, groupOf } = made
    const [first, second] = [vfio.openGroup(groupOf(EDU)), vfio.openGroup(groupOf(OTHER))]
    first.merge(second)
    const device = second.openDevice(OTHER)
    const iommu = first.openIommu()
    first.close()
    first.close()
    second.close()
    using again = vfio.openGroup(groupOf(EDU))
    expect(again.info().mmLocked).toBe(true)
    iommu.close()
    expect(again.info().mmLocked).toBe(true)
    device.close()
    expect(again.info().mmLocked).toBe(false)
    expect(outcome(() => again.unmerge())).toBe('EINVAL')
    expect(
      outcomes(
        () => first.info(),
        () => first.openIommu(),
        () => iommu.info(),
        () => device.info(),
      ),
    ).toEqual(Array(4).fill('EBADF'))
  })

  it('take in no group that is not viable, while they are in use', () => {
    using made = machine(EDU)
    const { host, vfio, groupOf } = made
    bind(host, TWINS[0])
    using first = vfio.openGroup(groupOf(EDU))
    using second = vfio.openGroup(groupOf(TWINS[0]))
    const iommu = first.openIommu()
    expect(outcome(() => first.merge(second))).toBe('EPERM')
    iommu.close()
    first.merge(second)
    expect(outcome(() => first.openIommu())).toBe('EPERM')
    second.unmerge()
    first.openIommu().close()
  })
})

describe('an IOMMU and a device', () => {
  it('say what they have in the words of that header', () => {
    using made = machine(EDU)
    const { vfio, groupOf } = made
    using group = vfio.openGroup(groupOf(EDU))
    using iommu = group.openIommu()
    expect(iommu.info()).toEqual({ iovaMin: 0n, iovaMax: (1n << 48n) - 1n, alignment: 4096n })
    using device = group.openDevice(EDU)
    expect(device.regionInfo(0)).toEqual({ mmap: true, readOnly: false, size: 1n << 20n, offset: 0n })
    expect(device.regionInfo(7)).toMatchObject({ mmap: false, readOnly: false, offset: 7n << 40n })
    expect(device.irqInfo(0)).toEqual({ level: true, count: 1 })
    expect(device.irqInfo(1)).toEqual({ level: false, count: 1 })
    expect(
      outcomes(
        () => device.regionInfo(9),
        () => device.irqInfo(5),
      ),
    ).toEqual(['EINVAL', 'EINVAL'])
    wake(device)
    const mapping = device.mmap({ position: 0n, length: 4096n })
    expect(mapping.read(0n, 4)).toBe(BigInt(new DataView(device.read(0n, 4).buffer).getUint32(0, true)))
    mapping.close()
  })

  it('interrupts level triggered, masked until it is unmasked by hand or by an event', () => {
    using made = machine(EDU)
    const { vfio, groupOf } = made
    using group = vfio.openGroup(groupOf(EDU))
    using device = group.openDevice(EDU)
    wake(device)
    using event = EventFd.create()
    using unmask = EventFd.create()
    const raise = () => device.write(0x60n, Uint8Array.of(1, 0, 0, 0))
    const lower = () => device.write(0x64n, Uint8Array.of(1, 0, 0, 0))
    device.setIrqEventFds(0, [event])
    raise()
    expect(event.read()).toBe(1n)
    device.unmaskIrq(0)
    expect(event.read()).toBe(1n)
    device.setUnmaskIrqEventFds(0, [unmask])
    unmask.signal()
    expect(event.read()).toBe(1n)
    device.setUnmaskIrqEventFds(0, [null])
    lower()
    device.unmaskIrq(0)
    expect(event.read()).toBeUndefined()
    device.setIrqEventFds(0, [])
    raise()
    expect(event.read()).toBeUndefined()
    expect(
      outcomes(
        () => device.setIrqEventFds(0, [event, event]),
        () => device.setIrqEventFds(9, [event]),
        () => device.unmaskIrq(0, 1),
        () => device.unmaskIrq(7),
      ),
    ).toEqual(Array(4).fill('EINVAL'))
    expect(() => device.setIrqEventFds(0, [{} as never])).toThrow(TypeError)
  })

  it('tells of resets and of regions that can only be read, whatever the device', () => {
    using host = new SoftwareHost()
    const vfio = new Vfio2011(host)
    host.pci.add('0000:00:04.0', new Nvme(), { driver: 'vfio-pci-2011' })
    using group = vfio.openGroup('pci:0')
    using nvme = group.openDevice('0000:00:04.0')
    expect(nvme.info().reset).toBe(true)
    nvme.reset()

    const refuse = (): never => {
      throw new VfioError('EINVAL', 'refused')
    }
    const resets: number[] = []
    const rom: VfioDeviceOps = {
      name: 'rom',
      getInfo: () => ({ flags: VFIO_DEVICE_FLAGS_RESET, numRegions: 1, numIrqs: 0 }),
      getRegionInfo: (index) => (index === 0 ? { flags: VFIO_REGION_INFO_FLAG_READ, size: 16n, offset: 0n } : refuse()),
      getIrqInfo: refuse,
      setIrqs: refuse,
      read: (_region, offset, into) => into.fill(Number(offset)).length,
      reset: () => void resets.push(1),
    }
    const parent = host.addDevice('rom')
    vfio.groupAddDev(parent, deviceRequests)
    vfio.bindDev(parent, rom)
    using other = vfio.openGroup('platform:1')
    using device = other.openDevice('rom')
    expect(device.regionInfo(0)).toEqual({ mmap: false, readOnly: true, size: 16n, offset: 0n })
    expect([...device.read(5n, 2)]).toEqual([5, 5])
    expect(
      outcomes(
        () => device.write(0n, Uint8Array.of(1)),
        () => device.mmap({ position: 0n, length: 16n }),
      ),
    ).toEqual(['EINVAL', 'EINVAL'])
    device.reset()
    expect(resets).toHaveLength(1)
  })

  it('takes no junk', () => {
    using made = machine(EDU)
    const { vfio, groupOf } = made
    using group = vfio.openGroup(groupOf(EDU))
    using iommu = group.openIommu()
    using device = group.openDevice(EDU)
    using memory = HostMemory.allocate(4096)
    for (const run of [
      () => group.merge({} as never),
      () => group.openDevice(7 as never),
      () => iommu.mapDma({ iova: 0n, memory: {} as never }),
      () => iommu.mapDma(7 as never),
      () => iommu.unmapDma(null as never),
      () => device.read('x' as never, 4),
      () => device.write(0n, 'x' as never),
      () => device.mmap(undefined as never),
      () => device.irqInfo('x' as never),
    ])
      expect(run).toThrow(TypeError)
    expect(() => iommu.mapDma({ iova: 0n, memory, offset: 5000n })).toThrow(RangeError)
    expect(() => iommu.mapDma({ iova: 0n, memory, length: 5000n })).toThrow(RangeError)
    expect(
      outcomes(
        () => iommu.mapDma({ iova: 0n, memory }),
        () => iommu.mapDma({ iova: 7n, memory, read: true }),
      ),
    ).toEqual(['EINVAL', 'EINVAL'])
  })
})
