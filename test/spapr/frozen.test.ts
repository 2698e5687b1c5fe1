/** Every way in and out of a device that is cut off: registers, mapped BARs, events, messages, and endpoints that failed for good. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  EventFd,
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_SPAPR_TCE_v2_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  type Container,
  type Device,
  type Group,
  type SoftwareHostOptions,
} from '../../ts/index.ts'
import { code } from './machines.ts'

const ADDRESS = '0000:00:04.0'
const MEMORY_AND_BUS_MASTER = 6
const ONES = 0xffff_ffff

/** A device with registers, which count their writes, beside a BAR of plain memory. */
class Counter extends PciModel {
  writes = 0

  constructor(memory: HostMemory) {
    super({
      vendor: 0x1234,
      device: 0x0c01,
      msi: 1,
      bars: [
        { index: 0, size: 0x1_0000, kind: 'memory32' },
        { index: 2, size: 0x2_0000, kind: 'memory32', memory },
      ],
    })
  }

  override read(_bar: number, _offset: bigint, into: DataView): void {
    into.setUint32(0, 7, true)
  }

  override write(): void {
    this.writes++
  }
}

let machine: {
  host: SoftwareHost
  model: Counter
  memory: HostMemory
  container: Container
  group: Group
  device: Device
}

function start(options: SoftwareHostOptions = {}, model: number = VFIO_SPAPR_TCE_v2_IOMMU): typeof machine {
  const host = new SoftwareHost({ platform: 'powernv', ...options })
  const memory = HostMemory.allocate(0x2_0000)
  const counter = new Counter(memory)
  host.pci.add(ADDRESS, counter, { driver: 'vfio-pci' })
  return { host, memory, model: counter, ...open(host, model) }
}

function open(host: SoftwareHost, model: number = VFIO_SPAPR_TCE_v2_IOMMU) {
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(ADDRESS).number)
  group.setContainer(container)
  container.setIommu(model)
  const device = group.getDevice(ADDRESS)
  device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, MEMORY_AND_BUS_MASTER)
  return { container, group, device }
}

function close(opened: { container: Container; group: Group; device: Device }): void {
  opened.device.close()
  opened.group.close()
  opened.container.close()
}

beforeEach(() => {
  machine = start()
})

afterEach(() => {
  close(machine)
  machine.host.close()
  machine.memory.close()
})

describe('while it is frozen', () => {
  const freeze = (): void => machine.host.endpoint(machine.host.groupOf(ADDRESS).number).freeze()

  it('answers no access, whoever waits for it', async () => {
    const { device, model } = machine
    const [bar, config] = [device.region(0), device.region(VFIO_PCI_CONFIG_REGION_INDEX)]
    expect(bar.readU32(0)).toBe(7)
    freeze()
    expect(bar.readU32(0)).toBe(ONES)
    expect(config.readU32(0)).toBe(ONES)
    const four = await bar.readAsync(0, 4)
    expect([...four]).toEqual([255, 255, 255, 255])
    await bar.writeAsync(0, four)
    bar.writeU32(8, 1)
    expect(model.writes).toBe(0)
    expect(code(() => bar.readU32(0x1_0000))).toBe('EINVAL')
    expect(code(() => config.readU32(0x1000))).toBe('EFAULT')
  })

  it('does not let a mapped BAR of memory through', () => {
    const { container, device, memory } = machine
    using mapped = device.region(2).mmap()
    mapped.writeU32(0x100, 0xcafe)
    expect(memory.readU32(0x100)).toBe(0xcafe)
    freeze()
    expect(mapped.readU32(0x100)).toBe(ONES)
    mapped.writeU32(0x100, 0xbad)
    mapped.writeU64(0x1_fff8, 0n)
    expect(memory.readU32(0x100)).toBe(0xcafe)
    container.spapr.eeh.unfreezeIo()
    expect(mapped.readU32(0x100)).toBe(0xcafe)
    mapped.writeU32(0x100, 0xf00d)
    expect(memory.readU32(0x100)).toBe(0xf00d)
  })

  it('loses its messages, and sends again once DMA passes', () => {
    const { container, device, model } = machine
    using irq = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
    const event = irq.vector(0)
    model.irq.msi.trigger(0)
    expect(event.read()).toBe(1n)
    freeze()
    model.irq.msi.trigger(0)
    container.spapr.eeh.unfreezeIo()
    model.irq.msi.trigger(0)
    expect(event.read()).toBeUndefined()
    container.spapr.eeh.unfreezeDma()
    expect(event.read()).toBeUndefined()
    model.irq.msi.trigger(0)
    expect(event.read()).toBe(1n)
  })

  it('takes no write of an event', () => {
    const { device, model } = machine
    using event = EventFd.create()
    device.ioeventfd(0, 8, 4, 1, event)
    event.signal()
    expect(model.writes).toBe(1)
    freeze()
    event.signal()
    expect(model.writes).toBe(1)
  })
})

describe('an endpoint that failed for good', () => {
  const endpoint = () => machine.host.endpoint(machine.host.groupOf(ADDRESS).number)

  it('is unavailable, and nothing recovers it, nor the next container', () => {
    const { container, device, host } = machine
    endpoint().fail()
    const { eeh } = container.spapr
    expect(eeh.state()).toBe('unavailable')
    for (const attempt of [
      () => eeh.unfreezeIo(),
      () => eeh.unfreezeDma(),
      () => eeh.reset('hot'),
      () => eeh.deactivateReset(),
    ]) {
      expect(code(attempt)).toBe('EIO')
    }
    eeh.configure()
    expect(device.region(0).readU32(0)).toBe(ONES)
    close(machine)
    Object.assign(machine, open(host))
    expect(machine.container.spapr.eeh.state()).toBe('unavailable')
    expect(machine.device.region(0).readU32(0)).toBe(ONES)
    expect(endpoint().failed).toBe(true)
  })

  it('is one that froze more often than the machine puts up with', () => {
    close(machine)
    machine.host.close()
    machine = start({ spapr: { mostFreezes: 2 } })
    for (const state of ['stopped', 'stopped', 'unavailable'] as const) {
      const { eeh } = machine.container.spapr
      eeh.inject({ type: 0, func: 4 })
      expect(eeh.state()).toBe(state)
      if (state === 'stopped') eeh.deactivateReset()
    }
    expect(endpoint().freezes).toBe(3n)
    expect(code(() => machine.container.spapr.eeh.deactivateReset())).toBe('EIO')
  })

  it('is not one whose parent is being recovered', () => {
    const { eeh } = machine.container.spapr
    endpoint().parentRecovering = true
    expect(eeh.state()).toBe('unavailable')
    endpoint().parentRecovering = false
    expect(eeh.state()).toBe('normal')
    expect(endpoint().failed).toBe(false)
  })
})

describe('machines without freezing', () => {
  it('say so', () => {
    const { host } = machine
    expect(code(() => host.endpoint(99))).toBe('ENOENT')
    using x86 = new SoftwareHost()
    expect(code(() => x86.endpoint(0))).toBe('ENXIO')
    using emulated = new SoftwareHost({ platform: 'powernv', spapr: { eeh: 'emulated' } })
    using memory = HostMemory.allocate(0x2_0000)
    emulated.pci.add(ADDRESS, new Counter(memory), { driver: 'vfio-pci' })
    const endpoint = emulated.endpoint(emulated.groupOf(ADDRESS).number)
    expect(code(() => endpoint.freeze())).toBe('EOPNOTSUPP')
    expect(code(() => endpoint.fail())).toBe('EOPNOTSUPP')
    expect(endpoint.freezes).toBe(0n)
  })

  it('map BARs of memory as such', () => {
    using host = new SoftwareHost()
    using memory = HostMemory.allocate(0x2_0000)
    host.pci.add(ADDRESS, new Counter(memory), { driver: 'vfio-pci' })
    const opened = open(host, VFIO_TYPE1v2_IOMMU)
    using mapped = opened.device.region(2).mmap()
    expect(mapped.memory).toBeDefined()
    close(opened)
  })

  it('freeze no device that nobody has', () => {
    const { host } = machine
    close(machine)
    expect(code(() => host.endpoint(host.groupOf(ADDRESS).number).freeze())).toBe('ENODEV')
    Object.assign(machine, open(host))
  })
})
