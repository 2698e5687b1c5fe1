/**
 * An sPAPR IOMMU: recovering a device from a PCI error, and a second, 64-bit window of 64 KiB pages.
 *
 * The machine is a PowerNV with 64 KiB pages. The first part is the flow of the VFIO document's "PPC64 sPAPR implementation
 * note" (version 1, EEH), the second one version 2 with registered memory; what the process has locked is printed at each step.
 */
import { fileURLToPath } from 'node:url'
import {
  Edu,
  HostMemory,
  SoftwareHost,
  VFIO_EEH,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_SPAPR_TCE_IOMMU,
  VFIO_SPAPR_TCE_v2_IOMMU,
  type Container,
  type Device,
  type Group,
} from 'vfio'

const NAME = '0006:01:00.0'
const PAGE = 0x1_0000
const MIB = 1 << 20
const COMMAND = 4
const MEMORY_AND_BUS_MASTER = 6
/** `EEH_ERR_FUNC_LD_CFG_ADDR`: the address of a load from configuration space. */
const LOAD_CONFIG_ADDRESS = 4
/** Registers of `edu`: source, destination, count and command of its DMA, and where its buffer is. */
const DMA = { source: 0x80, destination: 0x88, count: 0x90, command: 0x98, buffer: 0x4_0000n }

/** A device of the machine, opened through a container with the given model. */
interface Opened extends Disposable {
  container: Container
  device: Device
  /** Says what was done, and what is locked now. */
  say(text: string): void
}

function open(host: SoftwareHost, model: number): Opened {
  const container = host.openContainer()
  const group: Group = host.openGroup(host.groupOf(NAME).number)
  group.setContainer(container)
  container.setIommu(model)
  const device = group.getDevice(NAME)
  device.region(VFIO_PCI_CONFIG_REGION_INDEX).writeU16(COMMAND, MEMORY_AND_BUS_MASTER)
  return {
    container,
    device,
    say(text) {
      const kib = Number(host.defaultProcess.lockedVm) * (PAGE / 1024)
      console.log(`${text.padEnd(76)} ${String(kib).padStart(8)} KiB locked`)
    },
    [Symbol.dispose]() {
      device.close()
      group.close()
      container.close()
    },
  }
}

/** Has the device copy four bytes from one address to another through its buffer. */
function copyByDevice(device: Device, from: bigint, to: bigint): void {
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

/** Version 1, and what the document says about recovering from an error. */
function recovery(host: SoftwareHost): void {
  using opened = open(host, VFIO_SPAPR_TCE_IOMMU)
  const { container, device, say } = opened
  const { spapr } = container
  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  const { dma32Start, dma32Size } = spapr.info()
  say(`the 32-bit window: 0x${dma32Start.toString(16)}, ${dma32Size / BigInt(MIB)} MiB`)
  spapr.enable()
  say('ENABLE charges the whole window, whatever is mapped')
  using ram = HostMemory.allocate(MIB)
  container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
  say('the first mapping makes the window and charges its table')

  console.log(`EEH is ${container.checkExtension(VFIO_EEH) ? 'there' : 'missing'}`)
  const { eeh } = spapr
  eeh.enable()
  say(`EEH enabled, the endpoint is ${eeh.state()}`)
  const saved = config.readU16(COMMAND)

  eeh.inject({ type: 0, func: LOAD_CONFIG_ADDRESS })
  say(`an error was injected: vendor 0x${config.readU16(0).toString(16)}, the endpoint is ${eeh.state()}`)
  copyByDevice(device, 0n, 4n)
  eeh.unfreezeIo()
  say(`I/O again, to collect logs: vendor 0x${config.readU16(0).toString(16)}, the endpoint is ${eeh.state()}`)
  eeh.reset('hot')
  say(`hot reset: vendor 0x${config.readU16(0).toString(16)}, the endpoint is ${eeh.state()}`)
  eeh.deactivateReset()
  eeh.configure()
  config.writeU16(COMMAND, saved)
  say(`reset over, state restored: vendor 0x${config.readU16(0).toString(16)}, the endpoint is ${eeh.state()}`)
  ram.writeU32(0, 0x600d)
  copyByDevice(device, 0n, 4n)
  say(`the device works: it copied 0x${ram.readU32(4).toString(16)}`)

  copyByDevice(device, 0n, 0x9000_0000n)
  say(`a DMA outside of the window froze it by itself: the endpoint is ${eeh.state()}`)
  console.log(container.faults.explain())
  eeh.unfreezeIo()
  eeh.unfreezeDma()
  say(`unfrozen: ${eeh.state()}`)
  spapr.disable()
  say('DISABLE gives the charge of the window back, not that of its table')
}

/** Version 2: registered memory, and a second window. */
function windows(host: SoftwareHost): void {
  using opened = open(host, VFIO_SPAPR_TCE_v2_IOMMU)
  const { container, device, say } = opened
  const { spapr } = container
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

  const value = 0xcafe
  ram.writeU32(0x10_0010, value)
  copyByDevice(device, wide + 0x10_0010n, 0x20n)
  const first = ram.readU32(0x20)
  copyByDevice(device, 0x20n, middle + 0x30_0000n)
  const second = ram.readU32(0x30_0000)
  if (first !== value || second !== value) throw new Error('the device did not reach both windows')
  say(`the device copied 0x${first.toString(16)} from the wide window to the default one, and back`)

  spapr.removeWindow(wide)
  say('the wide window removed, with its entries')
  spapr.unregisterMemory({ memory: ram })
  say('given up while the default window leads there: it stays locked, as in the kernel')
}

/** Tells both stories. */
export function spaprStory(): void {
  using host = new SoftwareHost({ platform: 'powernv', iommu: { reserved: [] } })
  host.pci.addRootBus(6, 1)
  host.pci.add(NAME, new Edu({ dmaMask: (1n << 64n) - 1n }), { driver: 'vfio-pci' })
  console.log('Version 1 and error recovery')
  recovery(host)
  console.log('\nVersion 2 and a second window')
  windows(host)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) spaprStory()
