/**
 * Assigns a device: takes it from its host driver, puts its group into a container, maps memory, does DMA, waits for an
 * interrupt, resets it.
 *
 *     node node_modules/vfio/examples/assign-device.js
 */
import {
  Edu,
  HostMemory,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
} from 'vfio'

const NAME = '0000:06:0d.0'
const COMMAND = 4
const MEMORY_AND_BUS_MASTER = 6
/** Registers of `edu`, and its buffer as its DMA engine addresses it. */
const [SOURCE, DESTINATION, COUNT, START] = [0x80, 0x88, 0x90, 0x98]
const BUFFER = 0x40000

// A machine: a sound card behind a bridge, and a driver of the host that has it.
using host = new SoftwareHost({ firstGroup: 26 })
const bridge = host.pci.addBridge('0000:00:1e.0', { kind: 'pcie-to-pci' })
host.pci.add(NAME, new Edu({ id: '1102:0002' }), { behind: bridge, driver: 'snd_emu' })
console.log(host.group(26).explain())

// Taken from its driver, as root would do it in a shell.
host.sysfs.write(`/sys/bus/pci/devices/${NAME}/driver/unbind`, NAME)
host.sysfs.write('/sys/bus/pci/drivers/vfio-pci/new_id', '1102 0002')
console.log(host.group(26).explain())

// The user's side: a container with an IOMMU, the group in it, memory mapped for the device.
using container = host.openContainer()
using group = host.openGroup(26)
group.setContainer(container)
container.setIommu(VFIO_TYPE1v2_IOMMU)
using ram = HostMemory.allocate(1 << 20)
container.mapDma({ iova: 0, memory: ram, read: true, write: true })

// The device: what it has, what it does.
using device = group.getDevice(NAME)
for (const { index, size } of device.regions()) if (size > 0n) console.log(`region ${index}: ${size} bytes`)
for (const { index, count } of device.irqs()) if (count > 0) console.log(`interrupt index ${index}: ${count}`)
const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
config.writeU16(COMMAND, config.readU16(COMMAND) | MEMORY_AND_BUS_MASTER)
using msi = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)

/** Has the device move four bytes. */
function move(source: number, destination: number, command: number): void {
  bar.writeU64(SOURCE, source)
  bar.writeU64(DESTINATION, destination)
  bar.writeU64(COUNT, 4)
  bar.writeU64(START, command)
}

ram.writeU32(0, 0xc0ffee)
move(0, BUFFER, 1) // from IOVA 0 into the device
move(BUFFER, 0x1000, 3 | 4) // from there to IOVA 0x1000, and interrupt when it is done
await msi.vector(0).wait({ signal: AbortSignal.timeout(1000) })
console.log(`the device copied 0x${ram.readU32(0x1000).toString(16)}`)

move(0x20_0000, BUFFER, 1) // nothing is mapped there
console.log(container.faults.explain())
device.reset()
