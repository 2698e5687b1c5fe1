/**
 * The usage example of the kernel's VFIO document, line for line, on a machine with that document's topology: two
 * functions of a sound card behind a PCI bridge, in group 26.
 *
 * The group is not viable at first. Its functions are taken from their host drivers, the group is put into a container, and
 * the device copies a file through the IOMMU into its own buffer and back. Then it interrupts, strays, and is reset.
 *
 *     node build/examples/main/assign-device.js [FILE]
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import {
  Edu,
  HostMemory,
  isErrno,
  SoftwareHost,
  VFIO_API_VERSION,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_TYPE1_IOMMU,
  type Container,
  type Device,
  type Group,
  type IrqVectors,
  type Region,
} from 'vfio'

type Tell = (line: string) => void

const GROUP = 26
/** Who gets it: nobody special. */
const USER = 1000
const BRIDGE = '0000:00:1e.0'
const SOUND = '0000:06:0d.0'
const GAMEPORT = '0000:06:0d.1'
const DEVICES = '/sys/bus/pci/devices'
const NEW_ID = '/sys/bus/pci/drivers/vfio-pci/new_id'
const REGIONS = ['BAR0', 'BAR1', 'BAR2', 'BAR3', 'BAR4', 'BAR5', 'ROM', 'config', 'VGA']
const INTERRUPTS = ['INTx', 'MSI', 'MSI-X', 'ERR', 'REQ']
/** Long enough for an interrupt that does come. */
const PATIENCE_MS = 5000

/** The memory of the document: the device reads the first half and writes the second. */
const SIZE = 1024 * 1024
const HALF = SIZE / 2

/** The command register of configuration space, and the bits that let the device decode and do DMA. */
const COMMAND = 0x04
const MEMORY_AND_BUS_MASTER = 0x6

/** Registers of the device in BAR 0. */
const ACKNOWLEDGE = 0x64
const INTERRUPT_STATUS = 0x24
const SOURCE = 0x80
const DESTINATION = 0x88
const COUNT = 0x90
const START = 0x98
/** What START takes, and what INTERRUPT_STATUS then says. */
const MEMORY_TO_DEVICE = 0x1
const DEVICE_TO_MEMORY = 0x3
const THEN_INTERRUPT = 0x4
const DMA_DONE = 0x100
/** The device's own buffer, as its DMA engine addresses it. */
const BUFFER = 0x40000
const BUFFER_SIZE = 4096

/** Plays the document's example with the bytes of `file`, and tells it line by line. */
export async function assignDevice(file: string, tell: Tell = console.log): Promise<void> {
  using host = documentMachine()
  takeFromHostDrivers(host, tell)
  using user = host.process({ uid: USER, gid: USER }) // without any privilege

  tell('container = open("/dev/vfio/vfio", O_RDWR)')
  using container = user.openContainer()
  tell(`ioctl(container, VFIO_GET_API_VERSION) = ${container.apiVersion()}`)
  if (container.apiVersion() !== VFIO_API_VERSION) throw new Error('unknown API version')
  tell(
    `ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU) = ${Number(container.checkExtension(VFIO_TYPE1_IOMMU))}`,
  )
  if (!container.checkExtension(VFIO_TYPE1_IOMMU)) throw new Error('the IOMMU driver that we want is not supported')

  tell(`group = open("/dev/vfio/${GROUP}", O_RDWR)`)
  using group = user.openGroup(GROUP)
  tell(`ioctl(group, VFIO_GROUP_GET_STATUS): ${describeStatus(group)}`)
  if (!group.status().viable) throw new Error('the group is not viable')
  group.setContainer(container)
  tell(`ioctl(group, VFIO_GROUP_SET_CONTAINER, container): ${describeStatus(group)}`)
  container.setIommu(VFIO_TYPE1_IOMMU)
  tell('ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU)')
  tell(`ioctl(container, VFIO_IOMMU_GET_INFO): ${describeIommu(container)}`)

  using ram = HostMemory.allocate(SIZE)
  container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
  tell('ioctl(container, VFIO_IOMMU_MAP_DMA): 1 MiB at IOVA 0, for reading and writing')

  tell(`device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "${SOUND}")`)
  using device = group.getDevice(SOUND)
  listRegions(device, tell)
  listInterrupts(device, tell)

  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  config.writeU16(COMMAND, config.readU16(COMMAND) | MEMORY_AND_BUS_MASTER)
  using msi = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
  tell('ioctl(device, VFIO_DEVICE_SET_IRQS): MSI 0 arrives as an event')
  await copyThroughDevice(device.region(VFIO_PCI_BAR0_REGION_INDEX), msi, ram, file, tell)
  stray(device.region(VFIO_PCI_BAR0_REGION_INDEX), container, tell)
  reset(device, group, tell)
}

/** The machine of the document. */
function documentMachine(): SoftwareHost {
  const host = new SoftwareHost({ firstGroup: GROUP })
  const bridge = host.pci.addBridge(BRIDGE, { kind: 'pcie-to-pci', revision: 0x90 })
  const sound = new Edu({ id: '1102:0002', classCode: 0x040100, revision: 8, multifunction: true })
  const gameport = new Edu({ id: '1102:7002', classCode: 0x098000, revision: 8 })
  host.pci.add(SOUND, sound, { behind: bridge, driver: 'snd_emu10k1' })
  host.pci.add(GAMEPORT, gameport, { behind: bridge, driver: 'emu10k1-gp' })
  return host
}

/** The document's shell session: from "in which group is it" to "the user has it". */
function takeFromHostDrivers(host: SoftwareHost, tell: Tell): void {
  const { sysfs, dev } = host
  const echo = (text: string, path: string) => {
    tell(`# echo ${text} > ${path}`)
    sysfs.write(path, `${text}\n`)
  }
  tell(`$ readlink ${DEVICES}/${SOUND}/iommu_group\n${sysfs.readlink(`${DEVICES}/${SOUND}/iommu_group`)}`)
  tell(`\n${host.group(GROUP).explain()}\n`)

  tell('# modprobe vfio-pci')
  for (const [name, id] of [
    [SOUND, '1102 0002'],
    [GAMEPORT, '1102 7002'],
  ] as const) {
    tell(`$ lspci -n -s ${name}\n${lspci(host, name)}`)
    echo(name, `${DEVICES}/${name}/driver/unbind`)
    echo(id, NEW_ID)
    if (name === GAMEPORT) continue
    const devices = `${DEVICES}/${name}/iommu_group/devices`
    tell(`$ ls -l ${devices}`)
    for (const entry of sysfs.list(devices)) tell(`${entry} -> ${sysfs.readlink(`${devices}/${entry}`)}`)
    tryTooEarly(host, tell)
  }

  tell(`\n${host.group(GROUP).explain()}\n`)
  tell(`# chown user:user /dev/vfio/${GROUP}`)
  dev.chown(`/dev/vfio/${GROUP}`, USER, USER)
}

/** The group has a file as soon as one of its devices is held by vfio-pci, but it cannot be used yet. */
function tryTooEarly(host: SoftwareHost, tell: Tell): void {
  using container = host.openContainer()
  using group = host.openGroup(GROUP)
  tell(`\n${group.explain()}`)
  try {
    group.setContainer(container)
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error
    return tell(`${error.message}\n`)
  }
  throw new Error('a container has taken a group that is not viable')
}

/** A function as `lspci -n` shows it. */
function lspci({ sysfs }: SoftwareHost, name: string): string {
  const hex = (attribute: string) => sysfs.read(`${DEVICES}/${name}/${attribute}`).trim().slice('0x'.length)
  const place = name.slice('0000:'.length)
  return `${place} ${hex('class').slice(0, 4)}: ${hex('vendor')}:${hex('device')} (rev ${hex('revision')})`
}

function describeStatus(group: Group): string {
  const { viable, containerSet } = group.status()
  return `${viable ? 'viable' : 'not viable'}, in ${containerSet ? 'a' : 'no'} container`
}

function describeIommu(container: Container): string {
  const { pageSizes, iovaRanges = [] } = container.info()
  const ranges = iovaRanges.map(({ start, last }) => `0x${start.toString(16)}-0x${last.toString(16)}`)
  return `pages 0x${pageSizes.toString(16)}, usable IOVAs ${ranges.join(', ')}`
}

function listRegions(device: Device, tell: Tell): void {
  const { numRegions, numIrqs } = device.info()
  tell(`ioctl(device, VFIO_DEVICE_GET_INFO): ${numRegions} regions, ${numIrqs} interrupt indexes`)
  for (const region of device.regions()) {
    if (region.size === 0n) continue
    const access = [region.readable && 'read', region.writable && 'write', region.mappable && 'mmap'].filter(Boolean)
    tell(
      `  region ${REGIONS[region.index]}: ${region.size} bytes at 0x${region.info.offset.toString(16)}, ${access.join(' ')}`,
    )
  }
}

function listInterrupts(device: Device, tell: Tell): void {
  for (const irq of device.irqs()) {
    if (irq.count === 0) continue
    const manners = [
      irq.eventfd && 'eventfd',
      irq.maskable && 'maskable',
      irq.automasked && 'automasked',
      irq.noresize && 'noresize',
    ]
    tell(`  interrupt ${INTERRUPTS[irq.index]}: ${irq.count}, ${manners.filter(Boolean).join(' ')}`)
  }
}

/** Has the device fetch a file piece by piece by DMA and put it back elsewhere; the last piece of each half MiB interrupts. */
async function copyThroughDevice(
  bar: Region,
  msi: IrqVectors,
  ram: HostMemory,
  file: string,
  tell: Tell,
): Promise<void> {
  const sent = createHash('sha256')
  const received = createHash('sha256')
  const half = new Uint8Array(HALF)
  let length = 0
  let interrupts = 0n
  const fd = openSync(file, 'r')
  try {
    for (let count = readSync(fd, half); count > 0; count = readSync(fd, half)) {
      sent.update(half.subarray(0, count))
      ram.write(0, half.subarray(0, count))
      interrupts += await copyOnce(bar, msi, count)
      received.update(ram.read(HALF, count))
      length += count
    }
  } finally {
    closeSync(fd)
  }
  const [there, back] = [sent.digest('hex'), received.digest('hex')]
  tell(
    `  the device copied ${length} bytes of ${file} both ways and interrupted ${interrupts === 1n ? 'once' : `${interrupts} times`}`,
  )
  tell(`  SHA-256 of what it was given   ${there}`)
  tell(`  SHA-256 of what it gave back   ${back}`)
  if (there !== back) throw new Error('the bytes have changed')
}

/** Copies `count` bytes from the first half of the memory to the second, and returns how many interrupts came. */
async function copyOnce(bar: Region, msi: IrqVectors, count: number): Promise<bigint> {
  for (let at = 0; at < count; at += BUFFER_SIZE) {
    const piece = Math.min(BUFFER_SIZE, count - at)
    const last = at + piece === count
    dma(bar, at, BUFFER, piece, MEMORY_TO_DEVICE)
    dma(bar, BUFFER, HALF + at, piece, DEVICE_TO_MEMORY | (last ? THEN_INTERRUPT : 0))
  }
  const events = await msi.vector(0).wait({ signal: AbortSignal.timeout(PATIENCE_MS) })
  const cause = bar.readU32(INTERRUPT_STATUS)
  if (cause !== DMA_DONE) throw new Error(`an interrupt for 0x${cause.toString(16)}`)
  bar.writeU32(ACKNOWLEDGE, cause)
  return events
}

function dma(bar: Region, source: number, destination: number, count: number, command: number): void {
  bar.writeU64(SOURCE, source)
  bar.writeU64(DESTINATION, destination)
  bar.writeU64(COUNT, count)
  bar.writeU64(START, command)
}

/** Has the device reach for what is not mapped, and shows what the IOMMU says to that. */
function stray(bar: Region, container: Container, tell: Tell): void {
  tell('the device reads behind its mapping')
  dma(bar, SIZE + 0x234, BUFFER, 16, MEMORY_TO_DEVICE)
  tell(`  ${container.faults.explain()}`)
  if (container.faults.total !== 1n) throw new Error('the IOMMU let it through')
}

/** Resets the device: alone if it can be, else together with its neighbours on the bus, which are all ours. */
function reset(device: Device, group: Group, tell: Tell): void {
  tell('ioctl(device, VFIO_DEVICE_RESET)')
  try {
    device.reset()
    tell('  done')
  } catch (error) {
    if (!isErrno(error, 'EINVAL')) throw error
    const names = device
      .hotResetInfo()
      .map(
        ({ bus, devfn }) =>
          `${bus.toString(16).padStart(2, '0')}:${(devfn >> 3).toString(16).padStart(2, '0')}.${devfn & 7}`,
      )
    tell(`  ${error.code}: it has no reset of its own, and its bus has other functions`)
    tell('ioctl(device, VFIO_DEVICE_PCI_HOT_RESET)')
    device.hotReset([group])
    tell(`  done, with ${names.join(' and ')}`)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await assignDevice(process.argv[2] ?? fileURLToPath(new URL('../../../README.md', import.meta.url)))
}
