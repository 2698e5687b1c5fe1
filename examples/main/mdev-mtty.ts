/**
 * The story of the mediated-device document: the sample driver `mtty` offers serial cards, one is created by its UUID,
 * opened as QEMU would open it, and driven as a guest's 8250 driver would drive it. What is sent comes back, announced by
 * interrupts. Then the card is removed.
 */
import { pathToFileURL } from 'node:url'
import {
  mtty,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_BAR1_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Device,
  type Irq,
  type IrqVectors,
  type Region,
} from 'vfio'

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
const PARENT = '/sys/devices/virtual/mtty/mtty'
/** Long enough for an interrupt that does come. */
const PATIENCE_MS = 5000

/** Registers of a 16550A and the bits that the story needs. */
const [RBR, IER, IIR, LCR, MCR, LSR, SCR] = [0, 1, 2, 3, 4, 5, 7]
const [THR, FCR, DLL, DLM] = [0, 2, 0, 1]
const LCR_8N1 = 0x03
const LCR_DLAB = 0x80
const FCR_ENABLE_AND_CLEAR = 0x07
const IER_RECEIVED = 0x01
const MCR_DTR_RTS_OUT2 = 0x0b
const LSR_DATA_READY = 0x01
const IIR_RECEIVED = 0xc4
const DIVISOR_115200 = 1

/** Plays the story and tells it, line by line. */
export async function mttyStory(tell: (line: string) => void = console.log): Promise<void> {
  using host = new SoftwareHost()
  host.mdev.on('uevent', ({ action, devpath }) => tell(`  uevent: ${action} ${devpath}`))

  tell(`# modprobe mtty\n# tree ${PARENT}`)
  host.mdev.registerParent('mtty', mtty({ parentAttributes: true }))
  await Promise.resolve() // lets the notifications through
  tell(host.sysfs.render(PARENT).trimEnd())

  const create = `${PARENT}/mdev_supported_types/mtty-2/create`
  tell(`# echo "${UUID}" > ${create}`)
  host.sysfs.write(create, `${UUID}\n`)
  await Promise.resolve()
  const path = `/sys/bus/mdev/devices/${UUID}`
  tell(`# ls ${path}\n${host.sysfs.list(path).join('  ')}`)
  tell(`# cat ${path}/vendor/sample_mdev_dev\n${host.sysfs.read(`${path}/vendor/sample_mdev_dev`).trimEnd()}`)
  const group = Number(host.sysfs.readlink(`${path}/iommu_group`).split('/').at(-1))
  tell(`# readlink ${path}/iommu_group\n${group}`)

  await useCard(host, group, tell)

  tell(`# echo 1 > ${path}/remove`)
  host.sysfs.write(`${path}/remove`, '1')
  await Promise.resolve()
  tell(`# ls /sys/bus/mdev/devices\n${host.sysfs.list('/sys/bus/mdev/devices').join('  ')}`)
  tell('# rmmod mtty')
  await host.mdev.unregisterParent('mtty')
}

/** Opens the card through its group, as a virtual machine monitor does. */
async function useCard(host: SoftwareHost, number: number, tell: (line: string) => void): Promise<void> {
  using container = host.openContainer()
  using group = host.openGroup(number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  using device = group.getDevice(UUID)

  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX).read(0, 64)
  tell('# lspci -xx')
  for (let at = 0; at < 64; at += 16) tell(`${hex(at)}: ${[...config.subarray(at, at + 16)].map(hex).join(' ')}`)

  for (const [name, bar, text] of [
    ['ttyS1', VFIO_PCI_BAR0_REGION_INDEX, 'Data is loop backed'],
    ['ttyS2', VFIO_PCI_BAR1_REGION_INDEX, 'from hosts mtty driver.'],
  ] as const) {
    const uart = device.region(bar)
    tell(`${name} is a ${probe(uart)}`)
    const { echo, interrupts } = await send(device, uart, text)
    tell(`  sent     '${text}'\n  received '${echo}' with ${interrupts} interrupts`)
    if (echo !== text) throw new Error(`${name} lost data`)
  }
}

/** Finds out what sits there, as `8250_port.c` does: a scratch register, then a FIFO that can be enabled. */
function probe(uart: Region): string {
  uart.writeU8(SCR, 0x5a)
  if (uart.readU8(SCR) !== 0x5a) return '8250'
  uart.writeU8(FCR, FCR_ENABLE_AND_CLEAR)
  return uart.readU8(IIR) >> 6 === 3 ? '16550A' : '16450'
}

/** Sets the line up, sends a text and gathers what comes back, taking an interrupt for every byte. */
async function send(device: Device, uart: Region, text: string): Promise<{ echo: string; interrupts: number }> {
  setSpeed(uart, DIVISOR_115200)
  uart.writeU8(FCR, FCR_ENABLE_AND_CLEAR)
  uart.writeU8(MCR, MCR_DTR_RTS_OUT2)
  const intx = device.irq(VFIO_PCI_INTX_IRQ_INDEX)
  using line = intx.enable(1)
  uart.writeU8(IER, IER_RECEIVED)
  let echo = ''
  let interrupts = 0
  for (const byte of Buffer.from(text)) {
    uart.writeU8(THR, byte)
    interrupts += await serve(uart, intx, line, (received) => (echo += String.fromCharCode(received)))
  }
  uart.writeU8(IER, 0)
  return { echo, interrupts }
}

function setSpeed(uart: Region, divisor: number): void {
  uart.writeU8(LCR, LCR_8N1 | LCR_DLAB)
  uart.writeU8(DLL, divisor & 0xff)
  uart.writeU8(DLM, divisor >> 8)
  uart.writeU8(LCR, LCR_8N1)
}

/** The interrupt handler: waits for the line, takes what has come, and unmasks the line. Returns the number of events. */
async function serve(uart: Region, intx: Irq, line: IrqVectors, take: (byte: number) => void): Promise<number> {
  const events = await line.vector(0).wait({ signal: AbortSignal.timeout(PATIENCE_MS) })
  if (uart.readU8(IIR) !== IIR_RECEIVED) throw new Error('an interrupt without cause')
  while ((uart.readU8(LSR) & LSR_DATA_READY) !== 0) take(uart.readU8(RBR))
  intx.unmask()
  return Number(events)
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await mttyStory()
