/** A machine whose one device moves bytes by DMA, for tests of the memory that it reaches. */
import {
  Edu,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Container,
} from '../../ts/index.ts'

const NAME = '0000:00:02.0'
const [SOURCE, DESTINATION, COUNT, START] = [0x80, 0x88, 0x90, 0x98]
const BUFFER = 0x40000
const [TO_DEVICE, TO_MEMORY] = [1, 3]

/** An open device in a container. */
export interface EduMachine {
  readonly container: Container
  /** Has the device copy `length` bytes (up to 4096) through its own buffer. */
  copy(from: number, to: number, length: number): void
  [Symbol.dispose](): void
}

/** Builds the machine. */
export function eduMachine(): EduMachine {
  const host = new SoftwareHost()
  host.pci.add(NAME, new Edu(), { driver: 'vfio-pci' })
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(NAME).number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  const device = group.getDevice(NAME)
  device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, 6)
  const registers = device.region(VFIO_PCI_BAR0_REGION_INDEX)
  const dma = (source: number, destination: number, length: number, command: number): void => {
    registers.writeU64(SOURCE, source)
    registers.writeU64(DESTINATION, destination)
    registers.writeU64(COUNT, length)
    registers.writeU64(START, command)
  }
  return {
    container,
    copy: (from, to, length) => {
      dma(from, BUFFER, length, TO_DEVICE)
      dma(BUFFER, to, length, TO_MEMORY)
    },
    [Symbol.dispose]: () => [device, group, container, host].forEach((one) => one[Symbol.dispose]()),
  }
}
