/** A refused call names its errno, itself, the address where there is one, and what can be done where something can. */
import {
  HostMemory,
  isErrno,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  type VfioError,
} from 'vfio'
import { ERRNO, type ErrnoName } from 'vfio/uapi'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EDU, type Machine, machine, Sample } from './machine.ts'

interface Refusal {
  code: ErrnoName
  syscall: string
  address?: bigint
  reason?: RegExp
  remedy?: RegExp
}

let at: Machine

beforeEach(() => {
  at = machine()
})

afterEach(() => {
  for (const device of [at.device, at.modelDevice, at.card]) device.close()
  at.host.close()
})

function refusalOf(run: () => unknown): VfioError {
  try {
    run()
  } catch (error) {
    if (isErrno(error)) return error
    throw error
  }
  throw new Error('it was not refused')
}

const page = { memory: HostMemory.allocate(4096), read: true, write: true }

const TABLE: readonly [what: string, run: (at: Machine) => unknown, refusal: Refusal][] = [
  [
    'mapping at an odd address',
    ({ container }) => container.mapDma({ ...page, iova: 0x123 }),
    { code: 'EINVAL', syscall: 'VFIO_IOMMU_MAP_DMA', address: 0x123n, reason: /multiples of 4096/ },
  ],
  [
    'mapping without any access',
    ({ container }) => container.mapDma({ memory: page.memory, iova: 0x100000, read: false, write: false }),
    { code: 'EINVAL', syscall: 'VFIO_IOMMU_MAP_DMA', address: 0x100000n, remedy: /read: true/ },
  ],
  [
    'mapping what is mapped',
    ({ container }) => container.mapDma({ ...page, iova: 0x1000 }),
    { code: 'EEXIST', syscall: 'VFIO_IOMMU_MAP_DMA', address: 0x1000n, remedy: /unmap/ },
  ],
  [
    'mapping in the window of message interrupts',
    ({ container }) => container.mapDma({ ...page, iova: 0xfee00000 }),
    { code: 'EINVAL', syscall: 'VFIO_IOMMU_MAP_DMA', address: 0xfee00000n, remedy: /0x0-0xfedfffff/ },
  ],
  [
    'unmapping at an odd address',
    ({ container }) => container.unmapDma({ iova: 1, length: 4096 }),
    { code: 'EINVAL', syscall: 'VFIO_IOMMU_UNMAP_DMA', address: 1n, reason: /multiples of 4096/ },
  ],
  [
    'cutting a mapping in two',
    ({ container }) => container.unmapDma({ iova: 0x1000, length: 4096 }),
    { code: 'EINVAL', syscall: 'VFIO_IOMMU_UNMAP_DMA', address: 0x1000n, remedy: /whole mappings/ },
  ],
  [
    'asking for dirty pages while nothing is tracked',
    ({ container }) => container.dirty.bitmap({ iova: 0, length: 0x10000 }),
    { code: 'EINVAL', syscall: 'VFIO_IOMMU_DIRTY_PAGES', address: 0n, remedy: /start/ },
  ],
  [
    'choosing a model twice',
    ({ container }) => container.setIommu(3),
    { code: 'EINVAL', syscall: 'VFIO_SET_IOMMU', reason: /chosen already/ },
  ],
  [
    'putting a group into two containers',
    ({ group, emulated }) => group.setContainer(emulated),
    { code: 'EINVAL', syscall: 'VFIO_GROUP_SET_CONTAINER', reason: /has a container/ },
  ],
  [
    'taking a group out while its device is open',
    ({ group }) => group.unsetContainer(),
    { code: 'EBUSY', syscall: 'VFIO_GROUP_UNSET_CONTAINER', remedy: /close/ },
  ],
  ['opening an open group', ({ host }) => host.openGroup(0), { code: 'EBUSY', syscall: 'open', remedy: /close/ }],
  [
    'opening a group that is not there',
    ({ host }) => host.openGroup(99),
    { code: 'ENOENT', syscall: 'open', reason: /no IOMMU group 99/, remedy: /there are 0/ },
  ],
  [
    'opening a device that is not there',
    ({ group }) => group.getDevice('0000:00:09.0'),
    { code: 'ENODEV', syscall: 'VFIO_GROUP_GET_DEVICE_FD', remedy: new RegExp(EDU) },
  ],
  [
    'a region that is not there',
    ({ device }) => device.region(77),
    { code: 'EINVAL', syscall: 'VFIO_DEVICE_GET_REGION_INFO', remedy: /regions\(\)/ },
  ],
  [
    'an interrupt index that is not there',
    ({ device }) => device.irq(77),
    { code: 'EINVAL', syscall: 'VFIO_DEVICE_GET_IRQ_INFO', remedy: /irqs\(\)/ },
  ],
  [
    'reading behind a BAR',
    ({ device }) => device.region(VFIO_PCI_BAR0_REGION_INDEX).readU32(0x10_0000),
    { code: 'EINVAL', syscall: 'read', address: 0x10_0000n, reason: /1048576 bytes/ },
  ],
  [
    'reading a BAR that is switched off',
    ({ device }) => {
      device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, 0)
      device.region(VFIO_PCI_BAR0_REGION_INDEX).readU32(0x20)
    },
    { code: 'EIO', syscall: 'read', address: 0x20n, remedy: /command register/ },
  ],
  [
    'mapping configuration space',
    ({ device }) => device.region(VFIO_PCI_CONFIG_REGION_INDEX).mmap(),
    { code: 'EINVAL', syscall: 'mmap', address: 0n, remedy: /read and write/ },
  ],
  [
    'enabling MSI-X of a device without',
    ({ device }) => device.irq(VFIO_PCI_MSIX_IRQ_INDEX).enable(1),
    { code: 'EINVAL', syscall: 'VFIO_DEVICE_SET_IRQS', reason: /not there/ },
  ],
  [
    'enabling INTx beside MSI',
    ({ device }) => device.irq(VFIO_PCI_INTX_IRQ_INDEX).enable(1),
    { code: 'EINVAL', syscall: 'VFIO_DEVICE_SET_IRQS', remedy: /disable/ },
  ],
  [
    'masking MSI',
    ({ device }) => device.irq(VFIO_PCI_MSI_IRQ_INDEX).mask(),
    { code: 'ENOTTY', syscall: 'VFIO_DEVICE_SET_IRQS', reason: /does not take/ },
  ],
  [
    'resetting a function that has no reset',
    ({ device }) => device.reset(),
    { code: 'EINVAL', syscall: 'VFIO_DEVICE_RESET', remedy: /hotReset/ },
  ],
  [
    'a bus reset where no bridge is',
    ({ device }) => device.hotReset([]),
    { code: 'ENODEV', syscall: 'VFIO_DEVICE_PCI_HOT_RESET', reason: /neither slot nor bus/ },
  ],
  [
    'the migration of a device without',
    ({ device }) => device.migration,
    { code: 'ENOTTY', syscall: 'VFIO_DEVICE_FEATURE', reason: /does not migrate/ },
  ],
  [
    'DMA to where nothing is mapped',
    ({ dma }) => dma.readU32(0x66000),
    { code: 'EFAULT', syscall: 'dma_read', address: 0x66000n, remedy: /fault log/ },
  ],
  [
    'translating what is not mapped',
    ({ dma }) => dma.translate(0x66000, 'write'),
    { code: 'EFAULT', syscall: 'dma_translate', address: 0x66000n, remedy: /fault log/ },
  ],
  [
    'memory behind the end of memory',
    ({ memory }) => memory.readU32(0x10000),
    { code: 'EFAULT', syscall: 'HostMemory.readU32', address: 0x10000n },
  ],
  [
    'a mediated device of a type that nobody offers',
    ({ host }) => host.mdev.create('mtty-7'),
    { code: 'ENOENT', syscall: 'mdev_create', remedy: /mtty-2/ },
  ],
  [
    'a process without rights to a node',
    ({ host }) => host.process({ uid: 1000 }).open('/dev/vfio/0'),
    { code: 'EACCES', syscall: 'open', remedy: /chown/ },
  ],
  [
    'using a device that is closed',
    ({ device }) => {
      device.close()
      device.info()
    },
    { code: 'EBADF', syscall: 'VFIO_DEVICE_GET_INFO', reason: /closed/ },
  ],
]

describe('a refusal explains itself', () => {
  it.each(TABLE)('%s', (_what, run, { code, syscall, address, reason = /./, remedy = /^/ }) => {
    const error = refusalOf(() => run(at))
    expect(error).toMatchObject({ name: 'VfioError', code, errno: -ERRNO[code], syscall })
    expect(error.message).toMatch(new RegExp(`^${code}: `))
    expect(error.message).toContain(syscall)
    expect(error.message).toMatch(reason)
    expect(error.address).toBe(address)
    expect(error.remedy ?? '').toMatch(remedy)
    expect(error.message).toContain(error.remedy ?? '')
  })

  it('says which devices keep a group from being used', () => {
    using host = new SoftwareHost()
    const bridge = host.pci.addBridge('0000:00:1e.0', { kind: 'pcie-to-pci' })
    host.pci.add('0000:06:0d.0', new Sample(), { behind: bridge, driver: 'vfio-pci' })
    host.pci.add('0000:06:0d.1', new Sample(), { behind: bridge, driver: 'snd_emu' })
    using container = host.openContainer()
    using group = host.openGroup(0)
    const error = refusalOf(() => group.setContainer(container))
    expect(error).toMatchObject({ code: 'EPERM', syscall: 'VFIO_GROUP_SET_CONTAINER' })
    expect(error.message).toContain('0000:06:0d.1 is bound to snd_emu')
    expect(error.remedy).toContain('explain()')
  })
})
