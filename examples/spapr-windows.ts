/**
 * DMA windows of an sPAPR IOMMU, version 2: memory is registered once, and a second, 64-bit window of 64 KiB pages is made
 * beside the default one. What the process has locked is printed at each step.
 *
 * The machine is a PowerNV with 64 KiB pages.
 *
 *     node node_modules/vfio/examples/spapr-windows.js
 */
import {
  Edu,
  HostMemory,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_SPAPR_TCE_v2_IOMMU,
} from 'vfio'

const NAME = '0006:01:00.0'
const PAGE = 0x1_0000
const MIB = 1 << 20
const COMMAND = 4
const MEMORY_AND_BUS_MASTER = 6
/** Registers of `edu`: source, destination, count and command of its DMA, and where its buffer is. */
const DMA = { source: 0x80, destination: 0x88, count: 0x90, command: 0x98, buffer: 0x4_0000n }

using host = new SoftwareHost({ platform: 'powernv', iommu: { reserved: [] } })
host.pci.addRootBus(6, 1)
host.pci.add(NAME, new Edu({ dmaMask: (1n << 64n) - 1n }), { driver: 'vfio-pci' })
using container = host.openContainer()
using group = host.openGroup(host.groupOf(NAME).number)
group.setContainer(container)
container.setIommu(VFIO_SPAPR_TCE_v2_IOMMU)
using device = group.getDevice(NAME)
device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(COMMAND, MEMORY_AND_BUS_MASTER)
const { spapr } = container

/** Says what was done, and what is locked now. */
function say(text: string): void {
  const kib = Number(host.defaultProcess.lockedVm) * (PAGE / 1024)
  console.log(`${text.padEnd(76)} ${String(kib).padStart(8)} KiB locked`)
}

/** Has the device copy four bytes from one address to another through its buffer. */
function copyByDevice(from: bigint, to: bigint): void {
  const registers = device.region(VFIO_PCI_BAR0_REGION_INDEX)
  const move = (source: bigint, destination: bigint, command: bigint): void => {
    registers.writeU64(DMA.source, source)
    registers.writeU64(DMA.destination, destination)
    registers.writeU64(DMA.count, 4n)
    registers.writeU64(DMA.command, command)
  }
  move(from, DMA.buffer, 1n)
  move(DMA.buffer, to, 3n)
}

say('a new container')
using ram = HostMemory.allocate(4 * MIB)
spapr.registerMemory({ memory: ram })
say('4 MiB registered: pinned and charged once, however often they are mapped')
container.mapDma({ iova: 0n, memory: ram, length: MIB, read: true, write: true })
say('1 MiB in the default window, pages of 4 KiB: its table is charged')
const wide = spapr.createWindow({ pageSize: PAGE, size: 1n << 40n, levels: 2 })
say(`a window of 1 TiB and 64 KiB pages at 0x${wide.toString(16)}, 2 levels`)
container.mapDma({ iova: wide, memory: ram, read: true, write: true })
const middle = wide + (1n << 39n)
container.mapDma({ iova: middle, memory: ram, read: true, write: true })
say('4 MiB twice in it: nothing more to charge')

ram.writeU32(0x10_0010, 0xcafe)
copyByDevice(wide + 0x10_0010n, 0x20n)
copyByDevice(0x20n, middle + 0x30_0000n)
const [first, second] = [ram.readU32(0x20), ram.readU32(0x30_0000)]
if (first !== 0xcafe || second !== 0xcafe) throw new Error('the device did not reach both windows')
say(`the device copied 0x${first.toString(16)} from the wide window to the default one, and back`)

spapr.removeWindow(wide)
say('the wide window removed, with its entries')
spapr.unregisterMemory({ memory: ram })
say('given up while the default window leads there: it stays locked, as in the kernel')
