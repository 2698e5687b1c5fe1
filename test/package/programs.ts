/** Programs of users that the tests put into folders with the package installed. */

/** Has a device copy through mapped memory; prints what arrived, and whether the native part is there. */
export const DMA = `
const host = new vfio.SoftwareHost()
host.pci.add('0000:00:04.0', new vfio.Edu(), { driver: 'vfio-pci' })
const container = host.openContainer()
const group = host.openGroup(0)
group.setContainer(container)
container.setIommu(vfio.VFIO_TYPE1v2_IOMMU)
const ram = vfio.HostMemory.allocate(4096)
container.mapDma({ iova: 0, memory: ram, read: true, write: true })
const device = group.getDevice('0000:00:04.0')
device.region(vfio.VFIO_PCI_CONFIG_REGION_INDEX).writeU16(4, 6)
const bar = device.region(vfio.VFIO_PCI_BAR0_REGION_INDEX)
ram.writeU32(0, 0xc0ffee)
for (const [source, destination, command] of [[0, 0x40000, 1], [0x40000, 0x100, 3]]) {
  bar.writeU64(0x80, source)
  bar.writeU64(0x88, destination)
  bar.writeU64(0x90, 4)
  bar.writeU64(0x98, command)
}
console.log(ram.readU32(0x100).toString(16), vfio.capabilities().native.available)
for (const thing of [device, group, container, ram, host]) thing.close()
`

/** A client of the device that \`serve-to-qemu.js\` serves at the socket named: has it square numbers in its memory. */
export const DOORBELL_CLIENT = `
import { connect, HostMemory } from 'vfio'
const device = await connect(process.argv[2])
const ram = HostMemory.allocate(4096, { kind: 'memfd' })
device.mapDma({ iova: 0x10000, memory: ram, read: true, write: true })
device.region(7).writeU16(4, 6)
const bar = device.region(0)
const line = device.irq(0)
const events = line.enable(1)
bar.writeU32(0, 0x10000)
for (const number of [2, 12, 1024]) {
  ram.writeU32(0, number)
  bar.writeU32(8, 1)
  await events.vector(0).wait({ signal: AbortSignal.timeout(20_000) })
  bar.writeU32(16, 0)
  line.unmask()
  console.log(number, ram.readU32(4))
}
console.log('answers', bar.readU32(16))
device.close()
`

/** What it prints. */
export const DOORBELL_ANSWERS = '2 4\n12 144\n1024 1048576\nanswers 3'
