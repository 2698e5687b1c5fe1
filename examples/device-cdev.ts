/**
 * A device opened by its own file and bound to an iommufd: the example of the kernel's document, then a DMA through it, and
 * what is left when the memory is unmapped.
 */
import { Edu, HostMemory, isErrno, SoftwareHost, VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX } from 'vfio'

const ADDRESS = '0000:6a:01.0'
/** Where the device sees the memory: from 0 on, as in the document. */
const IOVA = 0n
const SIZE = 1 << 20
/** Registers of edu's DMA, its buffer, and the commands of its two ways. */
const [SOURCE, DESTINATION, COUNT, COMMAND] = [0x80n, 0x88n, 0x90n, 0x98n]
const BUFFER = 0x40000n
const [TO_DEVICE, TO_MEMORY] = [1n, 3n]
const PCI_COMMAND = 4
const MEMORY_AND_BUS_MASTER = 6

using host = new SoftwareHost()
const port = host.pci.addBridge('0000:00:02.0', { kind: 'root-port', secondaryBus: 0x6a })
host.pci.add(ADDRESS, new Edu(), { behind: port, driver: 'vfio-pci' })
const [name = '?'] = host.sysfs.list(`/sys/bus/pci/devices/${ADDRESS}/vfio-dev`)
console.log(
  `${ADDRESS} is /dev/vfio/devices/${name}, mode ${host.dev.stat(`/dev/vfio/devices/${name}`).mode.toString(8)}`,
)

using iommufd = host.iommufd()
using device = iommufd.bind(ADDRESS)
const ioas = iommufd.allocIoas()
const hwpt = device.attach(ioas)
console.log(`bound as object ${device.id}; address space ${ioas.id}, shown by page table ${hwpt}`)

using memory = HostMemory.allocate(SIZE)
ioas.map({ memory, iova: IOVA })
console.log(`mapped 1 MiB at 0x${IOVA.toString(16)}; ${host.defaultProcess.pinnedVm} pages are pinned`)

memory.write(0, new TextEncoder().encode('by its own file'))
device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(PCI_COMMAND, MEMORY_AND_BUS_MASTER)
const registers = device.region(VFIO_PCI_BAR0_REGION_INDEX)
const copy = (from: bigint, to: bigint, command: bigint): void => {
  registers.writeU64(SOURCE, from)
  registers.writeU64(DESTINATION, to)
  registers.writeU64(COUNT, 64n)
  registers.writeU64(COMMAND, command)
}
copy(IOVA, BUFFER, TO_DEVICE)
copy(BUFFER, IOVA + 4096n, TO_MEMORY)
const copied = new Uint8Array(15)
memory.copyTo(copied, 4096)
console.log(`the device copied: ${new TextDecoder().decode(copied)}`)

try {
  ioas.destroy()
} catch (error) {
  if (!isErrno(error, 'EBUSY')) throw error
  console.log(error.message)
}
ioas.unmapAll()
copy(BUFFER, IOVA + 8192n, TO_MEMORY)
console.log(iommufd.faults.records().at(-1)?.text ?? 'no fault')
