/** POWER machines with one device, opened through a container. */
import {
  Edu,
  HostMemory,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_SPAPR_TCE_v2_IOMMU,
  type Container,
  type Device,
  type ProcessOptions,
  type SoftwareHostOptions,
} from '../../ts/index.ts'

export const PAGE = 0x1_0000
export const DEVICE = '0000:00:04.0'
export const OTHER = '0000:00:05.0'
const DMA = { source: 0x80, destination: 0x88, count: 0x90, command: 0x98, buffer: 0x4_0000n }

/** A PowerNV with two devices in groups of their own. */
export function powerHost(options: SoftwareHostOptions = {}): SoftwareHost {
  const host = new SoftwareHost({ platform: 'powernv', iommu: { reserved: [] }, ...options })
  for (const address of [DEVICE, OTHER]) {
    host.pci.add(address, new Edu({ dmaMask: (1n << 64n) - 1n }), { driver: 'vfio-pci' })
  }
  host.pci.powerOn()
  return host
}

/** A device that is open, and the container that it is opened through. */
export interface Opened extends Disposable {
  host: SoftwareHost
  container: Container
  device: Device
  /** Locked memory of the process in pages. */
  locked(): bigint
  /** Has the device read four bytes into its buffer, or write them from there. */
  dma(way: 'read' | 'write', iova: bigint): void
}

/** Opens the device in a process of its own. */
export function open(
  options: SoftwareHostOptions & { model?: number; process?: ProcessOptions; on?: SoftwareHost } = {},
): Opened {
  const { model = VFIO_SPAPR_TCE_v2_IOMMU, process: limits, on, ...machine } = options
  const host = on ?? powerHost(machine)
  const process = host.process(limits)
  const container = process.openContainer()
  const group = process.openGroup(host.groupOf(DEVICE).number)
  group.setContainer(container)
  container.setIommu(model)
  const device = group.getDevice(DEVICE)
  device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, 6)
  const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
  return {
    host,
    container,
    device,
    locked: () => process.lockedVm,
    dma(way, iova) {
      bar.writeU64(DMA.source, way === 'read' ? iova : DMA.buffer)
      bar.writeU64(DMA.destination, way === 'read' ? DMA.buffer : iova)
      bar.writeU64(DMA.count, 4n)
      bar.writeU64(DMA.command, way === 'read' ? 1n : 3n)
    },
    [Symbol.dispose]() {
      device.close()
      group.close()
      container.close()
      process.exit()
      if (on === undefined) host.close()
    },
  }
}

/** Memory of whole pages, closed by the test. */
export function memory(pages: number): HostMemory {
  return HostMemory.allocate(pages * PAGE)
}

/** What a call is refused with. */
export function code(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code
  }
}
