/**
 * A device model in TypeScript, served to QEMU (10.1 or newer): a guest sees a PCI function, its DMA goes into the guest's
 * memory, its interrupt is the guest's.
 *
 *     node node_modules/vfio/examples/serve-to-qemu.js [SOCKET]
 *
 * Then start the QEMU that it prints. It serves one client after the other until it is told to stop (SIGINT, SIGTERM).
 */
import { once } from 'node:events'
import { PciModel, serve } from 'vfio'

/** Registers of BAR 0. */
const [ADDRESS, BELL, STATUS] = [0x00, 0x08, 0x10]

/** Squares the number at an address, writes the answer behind it, and raises its interrupt until STATUS is written. */
class Doorbell extends PciModel {
  #address = 0n
  #answered = 0

  constructor() {
    super({ vendor: 0x1234, device: 0x0be1, interruptPin: 1, bars: [{ index: 0, size: 4096, kind: 'memory32' }] })
  }

  override read(_bar: number, offset: bigint, data: DataView): void {
    if (offset === BigInt(STATUS) && data.byteLength === 4) data.setUint32(0, this.#answered, true)
  }

  override write(_bar: number, offset: bigint, data: DataView): void | Promise<void> {
    // A guest writes 32 bits at a time.
    if (offset === BigInt(ADDRESS) && data.byteLength === 4) this.#address = BigInt(data.getUint32(0, true))
    if (offset === BigInt(STATUS)) this.irq.intx.lower()
    if (offset === BigInt(BELL)) return this.#answer(this.#address)
  }

  override reset(): void {
    this.#address = 0n
    this.#answered = 0
  }

  async #answer(address: bigint): Promise<void> {
    const words = new DataView((await this.dma.readAsync(address, 4)).buffer)
    words.setUint32(0, words.getUint32(0, true) ** 2, true)
    await this.dma.writeAsync(address + 4n, new Uint8Array(words.buffer))
    this.#answered++
    this.irq.intx.raise()
  }
}

const path = process.argv[2] ?? 'doorbell.sock'
await using server = await serve(new Doorbell(), { path })
server.on('attach', ({ pid }) => console.log(`process ${pid} has the device`))
server.on('detach', () => console.log('it has let it go'))
console.log(`Attach QEMU, the guest's memory shared:
  qemu-system-x86_64 -machine q35,memory-backend=mem -object memory-backend-memfd,id=mem,size=1G,share=on -m 1G \\
    -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"${path}"}}' …`)
await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
