/** The I/OAT engine, driven through VFIO. */
import { HostMemory, Ioat, SoftwareHost, VFIO_TYPE1v2_IOMMU } from 'vfio'
import { VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_MSIX_IRQ_INDEX } from 'vfio/uapi'
import { expect, it } from 'vitest'

const NAME = '0000:00:05.0'

it('copies through the IOMMU, halts at what is not mapped, and interrupts', async () => {
  using host = new SoftwareHost()
  host.pci.add(NAME, new Ioat(), { driver: 'vfio-pci' })
  using container = host.openContainer()
  using group = host.openGroup(0)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  using memory = HostMemory.allocate(0x10000)
  container.mapDma({ iova: 0x10_0000, memory, read: true, write: true })
  using device = group.getDevice(NAME)
  device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4n, 6)
  const bar = device.region(0)
  const msix = device.irq(VFIO_PCI_MSIX_IRQ_INDEX).enable(1)

  expect(bar.readU8(0x08n)).toBe(0x33)
  bar.writeU8(0x84n, 0x20)
  expect(bar.readU8(0x88n) & 7).toBe(3)
  bar.writeU8(0x03n, 8)

  const start = (source: bigint): void => {
    const descriptor = new DataView(new ArrayBuffer(64))
    descriptor.setUint32(0, 5, true)
    descriptor.setUint32(4, 1, true)
    descriptor.setBigUint64(8, source, true)
    descriptor.setBigUint64(16, 0x10_2000n, true)
    memory.write(0, new Uint8Array(descriptor.buffer))
    bar.writeU16(0x80n, 9)
    bar.writeU64(0x90n, 0x10_0000n)
    bar.writeU16(0x86n, 1)
  }
  memory.write(0x1000, new TextEncoder().encode('ioat!'))
  start(0x10_1000n)
  expect(bar.readU8(0x88n) & 7).toBe(1)
  expect(new TextDecoder().decode(memory.read(0x2000, 5))).toBe('ioat!')
  await msix.vector(0).wait({ signal: AbortSignal.timeout(5000) })

  start(0xdead_0000n)
  expect(bar.readU8(0x88n) & 7).toBe(3)
  expect(bar.readU32(0xa8n)).toBe(0x100)
  device.reset()
  expect(bar.readU32(0xa8n)).toBe(0)
})
