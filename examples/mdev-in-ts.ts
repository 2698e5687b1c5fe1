/**
 * A mediated device in TypeScript: a doorbell that answers requests in memory, and the driver that uses it.
 *
 * The model knows nothing of groups, IOMMUs or files; the driver knows nothing of the model but its registers. The device
 * is taken away at the end while the driver still has it open, which the driver is asked about.
 */
import {
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Mdev,
} from 'vfio'

/** Registers: where the request lies, and the bell. */
const ADDRESS = 0
const BELL = 8
const PCI_COMMAND = 4
const MEMORY_AND_BUS_MASTER = 6

/** Squares the number that it finds at the address, writes the answer behind it, and interrupts. */
class Doorbell extends PciModel {
  #address = 0n

  constructor() {
    super({ vendor: 0x1234, device: 0x0be1, msi: 1, bars: [{ index: 0, size: 4096, kind: 'memory32' }] })
  }

  override write(_region: number, offset: bigint, data: DataView): void {
    if (offset === BigInt(ADDRESS)) this.#address = data.getBigUint64(0, true)
    if (offset !== BigInt(BELL)) return
    const number = this.dma.readU32(this.#address)
    this.dma.writeU32(this.#address + 4n, number ** 2)
    this.irq.msi.trigger(0)
  }
}

const IOVA = 0x10_0000n

/** Opens the device, asks it for a few squares, and lets it go when it is told to. */
async function driver(host: SoftwareHost, mdev: Mdev): Promise<void> {
  using container = host.openContainer()
  using group = host.openGroup(host.groupOf(mdev.uuid).number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  using ram = HostMemory.allocate(4096)
  container.mapDma({ iova: IOVA, memory: ram, read: true, write: true })

  using device = group.getDevice(mdev.uuid)
  const leave = new Promise<number>((resolve) => device.once('request', resolve))
  device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(PCI_COMMAND, MEMORY_AND_BUS_MASTER)
  const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
  using msi = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
  bar.writeU64(ADDRESS, IOVA)
  for (const number of [2, 12, 1024]) {
    ram.writeU32(0, number)
    bar.writeU32(BELL, 1)
    await msi.vector(0).wait({ signal: AbortSignal.timeout(5000) })
    console.log(`${number} squared is ${ram.readU32(4)}`)
  }
  console.log(`asked to let go (request ${await leave})`)
}

using host = new SoftwareHost()
host.mdev.registerParent('doorbell', {
  types: [{ name: 'one', prettyName: 'A doorbell', instances: 4 }],
  probe: () => new Doorbell(),
})
const mdev = host.mdev.create('doorbell-one')
console.log(`created ${mdev.uuid} in group ${host.groupOf(mdev.uuid).number}`)
const driven = driver(host, mdev)
setTimeout(() => void mdev.remove().then(() => console.log('removed')), 50)
await driven
await mdev.remove()
console.log(`devices left: ${host.mdev.devices.length}`)
