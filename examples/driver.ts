/**
 * A driver in TypeScript, for the device `edu`: factorials by interrupt, bytes by DMA.
 *
 * The class knows a `Device` and a `Container`, and nothing of what stands behind them: here it drives a simulated function.
 *
 *     node node_modules/vfio/examples/driver.js
 */
import {
  Edu,
  HostMemory,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Container,
  type Device,
  type IrqVectors,
  type Region,
} from 'vfio'

const COMMAND = 4
const MEMORY_AND_BUS_MASTER = 6
/** The device's registers. */
const [FACTORIAL, STATUS, CAUSE, ACKNOWLEDGE] = [0x08, 0x20, 0x24, 0x64]
const [SOURCE, DESTINATION, COUNT, START] = [0x80, 0x88, 0x90, 0x98]
const [FACTORIAL_DONE, DMA_DONE] = [0x1, 0x100]
const [TO_DEVICE, TO_MEMORY, THEN_INTERRUPT] = [0x1, 0x3, 0x4]
const BUFFER = 0x40000
const BUFFER_SIZE = 4096
const PATIENCE_MS = 1000

class EduDriver implements Disposable {
  readonly #container: Container
  readonly #iova: number
  readonly #ram = HostMemory.allocate(BUFFER_SIZE)
  readonly #bar: Region
  readonly #msi: IrqVectors

  /** Takes a device over. `iova`: where a page of the container's addresses is free, below 256 MiB. */
  constructor(device: Device, container: Container, iova: number) {
    this.#container = container
    this.#iova = iova
    container.mapDma({ iova, memory: this.#ram, read: true, write: true })
    const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
    config.writeU16(COMMAND, config.readU16(COMMAND) | MEMORY_AND_BUS_MASTER)
    this.#bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
    this.#msi = device.irq(VFIO_PCI_MSI_IRQ_INDEX).enable(1)
    this.#bar.writeU32(STATUS, 0x80) // interrupt after a factorial
  }

  /** The factorial of `n`, modulo 2^32. */
  async factorial(n: number): Promise<number> {
    this.#bar.writeU32(FACTORIAL, n)
    await this.#interrupt(FACTORIAL_DONE)
    return this.#bar.readU32(FACTORIAL)
  }

  /** Puts bytes into the device's buffer. */
  async upload(bytes: Uint8Array): Promise<void> {
    this.#ram.write(0, bytes)
    await this.#transfer(this.#iova, BUFFER, bytes.byteLength, TO_DEVICE)
  }

  /** Gets bytes from the device's buffer. */
  async download(length: number): Promise<Uint8Array> {
    await this.#transfer(BUFFER, this.#iova, length, TO_MEMORY)
    return this.#ram.read(0, length)
  }

  /** Gives the device back: once the mapping is gone, no DMA reaches the memory. */
  [Symbol.dispose](): void {
    this.#msi.close()
    this.#container.unmapDma({ iova: this.#iova, length: BUFFER_SIZE })
    this.#ram.close()
  }

  async #transfer(source: number, destination: number, count: number, command: number): Promise<void> {
    this.#bar.writeU64(SOURCE, source)
    this.#bar.writeU64(DESTINATION, destination)
    this.#bar.writeU64(COUNT, count)
    this.#bar.writeU64(START, command | THEN_INTERRUPT)
    await this.#interrupt(DMA_DONE)
  }

  /** Waits for an interrupt that is about `cause`. */
  async #interrupt(cause: number): Promise<void> {
    for (let seen = 0; (seen & cause) === 0;) {
      await this.#msi.vector(0).wait({ signal: AbortSignal.timeout(PATIENCE_MS) })
      seen = this.#bar.readU32(CAUSE)
      this.#bar.writeU32(ACKNOWLEDGE, seen)
    }
  }
}

using host = new SoftwareHost()
host.pci.add('0000:00:04.0', new Edu(), { driver: 'vfio-pci' })
using container = host.openContainer()
using group = host.openGroup(host.groupOf('0000:00:04.0').number)
group.setContainer(container)
container.setIommu(VFIO_TYPE1v2_IOMMU)
using device = group.getDevice('0000:00:04.0')

using edu = new EduDriver(device, container, 0x10_0000)
console.log(`10! is ${await edu.factorial(10)}`)
await edu.upload(new TextEncoder().encode('to the device and back'))
console.log(new TextDecoder().decode(await edu.download(22)))
console.log(`refused DMA: ${container.faults.total}`)
