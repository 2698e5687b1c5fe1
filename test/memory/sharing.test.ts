/** Memory, mappings and views under a token: the same core object on the other side. Workers take the same way (`test/cli/bench`). */
import { expect, it } from 'vitest'
import {
  adoptDma,
  HostMemory,
  PciModel,
  SharedDomain,
  shareDma,
  SoftwareHost,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_SPAPR_TCE_IOMMU,
  VFIO_TYPE1v2_IOMMU,
} from '../../ts/index.ts'
import { outcome } from '../outcome.ts'

const ADDRESS = '0000:00:04.0'

function machine(options: ConstructorParameters<typeof SoftwareHost>[0] = {}, model: number = VFIO_TYPE1v2_IOMMU) {
  const host = new SoftwareHost(options)
  const device = new PciModel({ vendor: 0x1234, device: 1 })
  host.pci.add(ADDRESS, device, { driver: 'vfio-pci' })
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(ADDRESS).number)
  group.setContainer(container)
  container.setIommu(model)
  const opened = group.getDevice(ADDRESS)
  opened.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, 6)
  return {
    host,
    container,
    dma: device.dma,
    [Symbol.dispose]() {
      opened.close()
      group.close()
      container.close()
      host.close()
    },
  }
}

it('memory is the same bytes', () => {
  using memory = HostMemory.allocate(4096)
  const token = memory.share()
  using other = HostMemory.adopt(token)
  other.writeU32(8, 7)
  expect(memory.readU32(8)).toBe(7)
  expect(outcome(() => HostMemory.adopt(token))).toBe('EBADF')
  expect(() => HostMemory.adopt('x' as never)).toThrow(TypeError)
  memory.close()
  expect(outcome(() => memory.share())).toBe('EBADF')
})

it('a domain maps and unmaps for devices of the container', () => {
  using opened = machine()
  const { container, dma } = opened
  using domain = SharedDomain.adopt(container.share())
  using memory = HostMemory.allocate(16 * 4096)
  memory.writeU32(4096, 0xcafe)
  domain.mapDma({ iova: 0x10_0000n, memory, offset: 4096, length: 4096, read: true, write: true })
  expect(dma.readU32(0x10_0000)).toBe(0xcafe)
  expect(domain.mappings).toBe(1)
  const again = () => domain.mapDma({ iova: 0x10_0000n, memory, read: true, write: true })
  expect(outcome(again)).toBe('EEXIST')
  expect(container.unmapDma({ iova: 0x10_0000n, length: 4096n })).toBe(4096n)
  const triples = BigUint64Array.from([0n, 0x20_0000n, 4096n, 8192n, 0x30_0000n, 8192n])
  domain.mapDmaBatch({ memory, triples, read: true, write: false })
  expect(domain.mappings).toBe(2)
  expect(outcome(() => dma.writeU32(0x30_0000, 1))).toBe('EFAULT')
  domain.unmapDmaBatch(BigUint64Array.from([0x20_0000n, 4096n, 0x30_0000n, 8192n]))
  expect(outcome(() => dma.readU32(0x20_0000))).toBe('EFAULT')
  expect(() => domain.mapDmaBatch({ memory, triples: new BigUint64Array(2), read: true, write: true })).toThrow(
    RangeError,
  )
  expect(() => domain.mapDma({ iova: 0n, memory, offset: 1n << 40n, read: true, write: true })).toThrow(RangeError)
  domain.close()
  expect(outcome(() => domain.mapDma({ iova: 0n, memory, read: true, write: true }))).toBe('EBADF')
  expect(outcome(() => SharedDomain.adopt(1n << 60n))).toBe('EBADF')
})

it('a view is refused once its device has closed', () => {
  const opened = machine()
  const { container, dma } = opened
  using memory = HostMemory.allocate(4096)
  container.mapDma({ iova: 0n, memory, read: true, write: true })
  const view = adoptDma(shareDma(dma))
  view.writeU32(0, 5)
  expect(memory.readU32(0)).toBe(5)
  expect(view.translate(16, 'read')).toBe(dma.translate(16n, 'read'))
  opened[Symbol.dispose]()
  expect(outcome(() => view.readU32(0))).toBe('EFAULT')
  expect(outcome(() => view.translate(0, 'read'))).toBe('EFAULT')
})

it('windows of sPAPR belong to one thread', () => {
  using opened = machine({ platform: 'powernv' }, VFIO_SPAPR_TCE_IOMMU)
  expect(outcome(() => opened.container.share())).toBe('EOPNOTSUPP')
})
