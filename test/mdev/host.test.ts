/** Mediated devices on a whole machine: opened through their group, removed under their user. */
import { describe, expect, it } from 'vitest'
import { SoftwareHost } from '../../ts/host/software-host.ts'
import { PciModel } from '../../ts/device/pci-model.ts'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { mtty } from '../../ts/drivers/mtty.ts'
import { VFIO_PCI_MSI_IRQ_INDEX, VFIO_TYPE1v2_IOMMU } from '../../ts/uapi/constants.ts'
import { UUID } from './machine.ts'

const code = (name: string) => expect.objectContaining({ code: name })

/** A card, open through its group. */
function openCard() {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  const mdev = host.mdev.create('mtty-1', UUID)
  const number = mdev.group?.number ?? -1
  const container = host.openContainer()
  const group = host.openGroup(number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  return { host, mdev, number, group, container, device: group.getDevice(UUID) }
}

describe('a card in use', () => {
  it('asks its user to let go, and is gone when he has', async () => {
    const { host, mdev, number, group, container, device } = openCard()
    const asked: number[] = []
    device.on('request', (count) => asked.push(count))
    const node = `/dev/vfio/${number}`
    expect(host.dev.exists(node)).toBe(true)
    expect(host.sysfs.write(`/sys/bus/mdev/devices/${UUID}/remove`, '1')).toBe(1)
    expect(asked).toEqual([0])
    expect(mdev.state).toBe('removing')
    expect(() => group.getDevice(UUID)).toThrow(code('ENODEV'))
    device.region(0).writeU8(0, 0x41)
    expect(device.region(0).readU8(0)).toBe(0x41)
    device.close()
    await mdev.remove()
    expect(mdev.state).toBe('removed')
    group.close()
    container.close()
    expect(host.dev.exists(node)).toBe(false)
    expect(host.sysfs.list('/sys/bus/mdev/devices')).toEqual([])
    host.close()
  })

  it('ends with the machine', () => {
    const { host, mdev } = openCard()
    host.close()
    host.close()
    expect(mdev.state).not.toBe('active')
    expect(() => host.mdev.create('mtty-1')).toThrow(code('EBADF'))
  })
})

/** Doubles the word that it finds where it is pointed to, and says so. */
class Doubler extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 1, bars: [{ index: 0, size: 4096, kind: 'memory32' }], msi: 1 })
  }

  override write(_region: number, _offset: bigint, data: DataView): void {
    const at = BigInt(data.getUint32(0, true))
    this.dma.writeU32(at, this.dma.readU32(at) * 2)
    this.irq.msi.trigger(0)
  }
}

describe('a PCI model', () => {
  it('is a mediated device with DMA and interrupts', async () => {
    const host = new SoftwareHost()
    host.mdev.registerParent('doubler', { types: [{ name: 'one', instances: 4 }], probe: () => new Doubler() })
    const mdev = host.mdev.create('doubler-one', UUID)
    const container = host.openContainer()
    const group = host.openGroup(mdev.group?.number ?? -1)
    group.setContainer(container)
    container.setIommu(VFIO_TYPE1v2_IOMMU)
    const memory = HostMemory.allocate(4096)
    container.mapDma({ iova: 0x10000n, memory, read: true, write: true })
    const device = group.getDevice(UUID)
    const msi = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
    device.region(7).writeU16(4, 6)
    memory.writeU32(8, 21)
    device.region(0).writeU32(0, 0x10008)
    expect(await msi.vector(0).wait({ signal: AbortSignal.timeout(5000) })).toBe(1n)
    expect(memory.readU32(8)).toBe(42)
    device.close()
    await mdev.remove()
    expect(host.mdev.devices).toEqual([])
    host.close()
  })
})

describe('a card', () => {
  it('interrupts by message', async () => {
    const { host, device } = openCard()
    const msi = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
    const uart = device.region(0)
    uart.writeU8(2, 0x07)
    uart.writeU8(1, 0x01)
    uart.writeU8(0, 0x41)
    expect(await msi.vector(0).wait({ signal: AbortSignal.timeout(5000) })).toBe(1n)
    expect(uart.readU8(2)).toBe(0xc4)
    expect(uart.readU8(0)).toBe(0x41)
    msi.close()
    device.close()
    host.close()
  })
})
