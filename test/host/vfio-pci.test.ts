import { describe, expect, it } from 'vitest'
import {
  Edu,
  HostMemory,
  InertFunction,
  PciModel,
  SoftwareHost,
  VFIO_NOIOMMU_IOMMU,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Device,
  type PciFunctionDescriptor,
} from '../../ts/index.ts'

const errno = (code: string) => expect.objectContaining({ code })
const EDU = '0000:00:04.0'
const DRIVERS = '/sys/bus/pci/drivers'

/** A machine with one function of vfio-pci, its group in a container. */
function opened(fn: PciFunctionDescriptor | PciModel = new Edu()) {
  const host = new SoftwareHost()
  host.pci.add(EDU, fn, { driver: 'vfio-pci' })
  const container = host.openContainer()
  const group = host.openGroup(0)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  return { host, container, group, device: group.getDevice(EDU) }
}

function enableBusMaster(device: Device): void {
  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  config.writeU16(4, config.readU16(4) | 6)
}

describe('vfio-pci', () => {
  it('takes a function by new_id and shows its group', () => {
    using host = new SoftwareHost({ firstGroup: 26 })
    host.pci.add(EDU, new Edu({ id: '1102:0002' }), { driver: 'snd_emu' })
    expect(host.dev.exists('/dev/vfio/26')).toBe(false)
    host.sysfs.write(`/sys/bus/pci/devices/${EDU}/driver/unbind`, EDU)
    host.sysfs.write(`${DRIVERS}/vfio-pci/new_id`, '1102 0002')
    expect(host.sysfs.readlink(`/sys/bus/pci/devices/${EDU}/driver`)).toContain('vfio-pci')
    expect(host.dev.stat('/dev/vfio/26').mode).toBe(0o20600)
    expect(host.sysfs.list(`/sys/bus/pci/devices/${EDU}/vfio-dev`)).toEqual(['vfio0'])
    expect(host.group(26).explain().members).toEqual([{ name: EDU, driver: 'vfio-pci', state: 'vfio', remedy: [] }])
  })

  it('drives no bridges', () => {
    using host = new SoftwareHost()
    const bridge = host.pci.addBridge('0000:00:1e.0', { kind: 'pci' })
    expect(() => host.pci.bind(bridge.name, 'vfio-pci')).toThrow(errno('EINVAL'))
    expect(bridge.driver).toBeUndefined()
    expect(bridge.driverOverride).toBeUndefined()
  })

  it('leaves an open group behind when it is unbound, and comes back', () => {
    using host = new SoftwareHost()
    host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
    const group = host.openGroup(0)
    expect(host.sysfs.write(`${DRIVERS}/vfio-pci/unbind`, EDU)).toBe(12)
    expect(host.dev.exists('/dev/vfio/0')).toBe(false)
    expect(() => group.status()).toThrow(errno('ENODEV'))
    group.close()
    expect(host.sysfs.write(`${DRIVERS}/vfio-pci/bind`, EDU)).toBe(12)
    expect(host.openGroup(0).status().viable).toBe(true)
  })

  it('waits for the user when it is unbound while the device is open', () => {
    const { host, device, group, container } = opened()
    const requests: number[] = []
    device.on('request', (count) => requests.push(count))
    host.sysfs.write(`${DRIVERS}/vfio-pci/unbind`, EDU)
    expect(requests).toEqual([0])
    expect(host.pci.device(EDU)?.driver).toBe('vfio-pci')
    expect(device.region(VFIO_PCI_BAR0_REGION_INDEX).size).toBe(1n << 20n)
    expect(() => group.getDevice(EDU)).toThrow(errno('ENODEV'))
    expect(() => host.sysfs.write(`${DRIVERS}/vfio-pci/bind`, EDU)).toThrow(errno('EBUSY'))
    device.close()
    expect(host.pci.device(EDU)?.driver).toBeUndefined()
    group.close()
    container.close()
    host.sysfs.write(`${DRIVERS}/vfio-pci/bind`, EDU)
    expect(host.pci.device(EDU)?.driver).toBe('vfio-pci')
    host.close()
  })

  it('holds the function in its slot until the user lets go', () => {
    const { host, device, group } = opened()
    expect(host.pci.remove(EDU)).toBe(false)
    expect(host.sysfs.exists(`/sys/bus/pci/devices/${EDU}`)).toBe(true)
    device.close()
    expect(host.sysfs.exists(`/sys/bus/pci/devices/${EDU}`)).toBe(false)
    group.close()
    host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
    host.close()
  })

  it('keeps host drivers out of a group that is in use', () => {
    using host = new SoftwareHost()
    host.pci.add('0000:00:06.0', new Edu({ multifunction: true }), { driver: 'vfio-pci' })
    host.pci.add('0000:00:06.1', new Edu())
    using container = host.openContainer()
    using group = host.openGroup(0)
    group.setContainer(container)
    expect(() => host.pci.bind('0000:00:06.1', 'uio')).toThrow(errno('EBUSY'))
    group.unsetContainer()
    host.pci.bind('0000:00:06.1', 'uio')
    expect(() => group.setContainer(container)).toThrow(errno('EPERM'))
  })
})

describe('reset', () => {
  it('is refused where there is none', () => {
    const { host, device } = opened()
    expect(() => device.reset()).toThrow(errno('EINVAL'))
    expect(() => device.hotResetInfo()).toThrow(errno('ENODEV'))
    host.close()
  })

  /** Functions behind a bridge, of which the first is opened. */
  function behindBridge(count: number, driver: string | undefined) {
    const host = new SoftwareHost()
    const behind = host.pci.addBridge('0000:00:1e.0', { kind: 'pcie-to-pci', secondaryBus: 6 })
    for (let fn = 0; fn < count; fn++) {
      const bind = fn === 0 ? 'vfio-pci' : driver
      host.pci.add(`0000:06:0d.${fn}`, new Edu(), { behind, ...(bind === undefined ? {} : { driver: bind }) })
    }
    const container = host.openContainer()
    const group = host.openGroup(0)
    group.setContainer(container)
    container.setIommu(VFIO_TYPE1v2_IOMMU)
    return { host, group, device: group.getDevice('0000:06:0d.0') }
  }

  it('goes by the bus for a function that is alone there', () => {
    const { host, device } = behindBridge(1, undefined)
    const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
    enableBusMaster(device)
    bar.writeU32(4, 0x1234)
    expect(bar.readU32(4)).toBe(~0x1234 >>> 0)
    device.reset()
    expect(device.info().flags & 1).toBe(1)
    host.close()
  })

  it('takes all functions of the bus together, if they are all ours', () => {
    const { host, group, device } = behindBridge(2, 'vfio-pci')
    expect(() => device.reset()).toThrow(errno('EINVAL'))
    expect(device.hotResetInfo()).toEqual([
      { group: 0, segment: 0, bus: 6, devfn: 0x68, bound: true },
      { group: 0, segment: 0, bus: 6, devfn: 0x69, bound: true },
    ])
    expect(() => device.hotReset([])).toThrow(errno('EINVAL'))
    device.hotReset([group])
    host.close()
  })

  it('stops at a function without a VFIO driver', () => {
    const { host, group, device } = behindBridge(2, undefined)
    expect(() => device.hotReset([group])).toThrow(errno('EINVAL'))
    host.close()
  })
})

describe('edu', () => {
  it('copies through the IOMMU and interrupts', async () => {
    const { host, container, device } = opened()
    using ram = HostMemory.allocate(8192)
    ram.writeU64(0, 0x1122334455667788n)
    container.mapDma({ iova: 0x10000, memory: ram, read: true, write: true })
    enableBusMaster(device)
    using msi = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
    const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
    const dma = (source: number, destination: number, command: number) => {
      bar.writeU64(0x80, source)
      bar.writeU64(0x88, destination)
      bar.writeU64(0x90, 8)
      bar.writeU64(0x98, command)
    }
    dma(0x10000, 0x40000, 1)
    dma(0x40000, 0x11000, 3 | 4)
    expect(await msi.vector(0).wait({ signal: AbortSignal.timeout(2000) })).toBe(1n)
    expect(ram.readU64(4096)).toBe(0x1122334455667788n)
    dma(0x20000, 0x40000, 1)
    expect(container.faults.records()).toMatchObject([{ device: EDU, iova: 0x20000n, reason: 'no-mapping' }])
    host.close()
  })
})

/** Reads a word from memory at the address written to register 0, puts its inverse behind it, and interrupts. */
class Inverter extends PciModel {
  resets = 0

  constructor() {
    super({
      vendor: 0x1234,
      device: 0x4321,
      express: true,
      functionReset: true,
      bars: [
        { index: 0, size: 4096, kind: 'memory32' },
        { index: 1, size: 4096, kind: 'memory32' },
      ],
      msix: { vectors: 4, tableBar: 1, tableOffset: 0, pbaBar: 1, pbaOffset: 2048 },
    })
  }

  override read(_region: number, offset: bigint, data: DataView): void {
    if (data.byteLength === 4) data.setUint32(0, Number(offset) + this.resets, true)
  }

  override write(_region: number, offset: bigint, data: DataView): void {
    if (offset !== 0n || data.byteLength !== 4) throw new Error('no such register')
    const iova = BigInt(data.getUint32(0, true))
    this.dma.writeU32(iova + 4n, ~this.dma.readU32(iova) >>> 0)
    this.irq.msix.trigger(2)
  }

  override reset(): void {
    this.resets++
  }
}

describe('a PciModel', () => {
  it('is plugged in, does DMA and interrupts', async () => {
    const model = new Inverter()
    const { host, container, device } = opened(model)
    using ram = HostMemory.allocate(4096)
    ram.writeU32(0, 0x0f0f0f0f)
    container.mapDma({ iova: 0, memory: ram, read: true, write: true })
    enableBusMaster(device)
    using msix = device.irq(VFIO_PCI_MSIX_IRQ_INDEX).enable(4)
    const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
    expect(model.resets).toBe(1) // opening resets
    expect(bar.readU32(8)).toBe(9)
    bar.writeU32(0, 0)
    expect(ram.readU32(4)).toBe(0xf0f0f0f0)
    expect(await msix.vector(2).wait({ signal: AbortSignal.timeout(2000) })).toBe(1n)
    device.reset()
    expect(model.resets).toBe(2)
    expect(() => host.pci.add('0000:00:05.0', model)).toThrow(errno('EBUSY'))
    host.close()
  })

  it('reaches no memory while nobody has it open', () => {
    const model = new Inverter()
    expect(() => model.dma).toThrow(errno('ENXIO'))
    expect(() => model.irq.intx.raise()).toThrow(errno('ENXIO'))
    expect(() => new PciModel(undefined as never)).toThrow(TypeError)
  })
})

describe('a machine without an IOMMU', () => {
  it('refuses functions, or gives them without isolation where that is allowed', () => {
    using host = new SoftwareHost({ iommu: false })
    expect(() => host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })).toThrow(errno('EINVAL'))
    host.sysfs.write('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode', 'Y')
    host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
    expect(host.dev.list('/dev/vfio')).toContain('noiommu-0')
    expect(host.sysfs.readlink(`/sys/bus/pci/devices/${EDU}/iommu_group`)).toContain('iommu_groups/0')
    const weak = host.process({ dropCapabilities: ['CAP_SYS_RAWIO'] })
    expect(() => weak.open('/dev/vfio/noiommu-0')).toThrow(errno('EPERM'))
    using container = host.openContainer()
    using group = host.openGroup(0)
    group.setContainer(container)
    container.setIommu(VFIO_NOIOMMU_IOMMU)
    using device = group.getDevice(EDU)
    expect(device.info().numRegions).toBe(9)
  })
})

describe('an inert function', () => {
  it('can be opened and does nothing', () => {
    const fn = new InertFunction({ id: 'abcd:1234', bars: [{ index: 0, size: 4096, kind: 'memory32' }] })
    const { host, device } = opened(fn)
    const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
    expect(config.readU32(0)).toBe(0x1234abcd)
    expect(config.readU32(0x10)).toBe(0xe0000000)
    expect(device.region(VFIO_PCI_BAR0_REGION_INDEX).size).toBe(4096n)
    host.close()
  })
})
