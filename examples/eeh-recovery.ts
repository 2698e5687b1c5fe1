/**
 * Recovering a device of a POWER machine from a PCI error (EEH), with an sPAPR IOMMU, version 1: the flow of the VFIO
 * document's "PPC64 sPAPR implementation note".
 *
 *     node node_modules/vfio/examples/eeh-recovery.js
 */
import {
  Edu,
  HostMemory,
  SoftwareHost,
  VFIO_EEH,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_SPAPR_TCE_IOMMU,
} from 'vfio'

const NAME = '0006:01:00.0'
const MIB = 1 << 20
const COMMAND = 4
const MEMORY_AND_BUS_MASTER = 6
/** `EEH_ERR_FUNC_LD_CFG_ADDR`: the address of a load from configuration space. */
const LOAD_CONFIG_ADDRESS = 4
/** Registers of `edu`: source, destination, count and command of its DMA, and where its buffer is. */
const DMA = { source: 0x80, destination: 0x88, count: 0x90, command: 0x98, buffer: 0x4_0000n }

using host = new SoftwareHost({ platform: 'powernv', iommu: { reserved: [] } })
host.pci.addRootBus(6, 1)
host.pci.add(NAME, new Edu({ dmaMask: (1n << 64n) - 1n }), { driver: 'vfio-pci' })
using container = host.openContainer()
using group = host.openGroup(host.groupOf(NAME).number)
group.setContainer(container)
container.setIommu(VFIO_SPAPR_TCE_IOMMU)
using device = group.getDevice(NAME)
const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
config.writeU16(COMMAND, MEMORY_AND_BUS_MASTER)

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

const { spapr } = container
const { eeh } = spapr
/** Says what was done, what the device answers, and in which state its endpoint is. */
function say(text: string): void {
  console.log(`${text}: vendor 0x${config.readU16(0).toString(16)}, the endpoint is ${eeh.state()}`)
}

spapr.enable()
using ram = HostMemory.allocate(MIB)
container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
if (!container.checkExtension(VFIO_EEH)) throw new Error('EEH is missing')
eeh.enable()
say('EEH enabled')
const saved = config.readU16(COMMAND)

eeh.inject({ type: 0, func: LOAD_CONFIG_ADDRESS })
say('an error was injected')
copyByDevice(0n, 4n) // goes nowhere
eeh.unfreezeIo()
say('I/O again, to collect logs')
eeh.reset('hot')
say('hot reset')
eeh.deactivateReset()
eeh.configure()
config.writeU16(COMMAND, saved)
say('reset over, state restored')
ram.writeU32(0, 0x600d)
copyByDevice(0n, 4n)
console.log(`the device works: it copied 0x${ram.readU32(4).toString(16)}`)

copyByDevice(0n, 0x9000_0000n)
say('a DMA outside of the window froze it by itself')
console.log(container.faults.explain())
eeh.unfreezeIo()
eeh.unfreezeDma()
say('unfrozen')
spapr.disable()
