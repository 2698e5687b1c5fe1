/** The INTx of a device as a level on one of v86's interrupt lines. */
import { VFIO_PCI_INTX_IRQ_INDEX, type Device, type Irq, type IrqVectors } from 'vfio'
import type { Cpu } from './v86-inside.ts'

/** Fields of v86's interrupt controllers: which lines are enabled, which have a request, which are high. */
const [ENABLED, REQUESTED, HIGH] = [0, 3, 11]
const CASCADE = 1 << 2

/**
 * An interrupt line.
 *
 * INTx comes as an event, and masks itself: it says "has risen". That it has fallen is found out as hardware virtualisation
 * does it: whatever the guest does to the device may have been its acknowledgement, so the interrupt is unmasked then, and
 * comes again at once if the device still asks.
 */
export class InterruptLine {
  readonly #cpu: Cpu
  readonly #id: number
  readonly #irq: Irq | undefined
  readonly #vectors: IrqVectors | undefined
  #high = false

  /** Takes the interrupt of `device`, if it has one; `before` runs each time before the guest is told. */
  constructor(cpu: Cpu, id: number, device: Device, before: () => void) {
    this.#cpu = cpu
    this.#id = id
    const irq = device.irq(VFIO_PCI_INTX_IRQ_INDEX)
    if (irq.count === 0) return
    this.#irq = irq
    this.#vectors = irq.enable(1)
    void this.#listen(this.#vectors, before)
  }

  /** Looks whether the device still asks, after something was done to it. */
  recheck(): void {
    if (!this.#high || this.#stillAsks()) return
    this.#high = false
    this.#cpu.devices.pci.lower_irq(this.#id)
    this.#settle()
  }

  #stillAsks(): boolean {
    try {
      this.#irq?.unmask()
      return this.#vectors?.vector(0).read() !== undefined
    } catch {
      return false // the device was closed
    }
  }

  /** Gives the interrupt up (idempotent). */
  close(): void {
    this.#vectors?.close()
    if (this.#high) this.#cpu.devices.pci.lower_irq(this.#id)
    this.#high = false
  }

  async #listen(vectors: IrqVectors, before: () => void): Promise<void> {
    for await (const _ of vectors.vector(0)) {
      before()
      if (process.env['DBG']) console.error('raise', this.#id)
      this.#high = true
      this.#cpu.devices.pci.raise_irq(this.#id)
    }
  }

  /**
   * Takes a request back from the first controller that the second one no longer has.
   *
   * In v86 the first controller keeps asking on behalf of the second when an interrupt is lowered before the processor took
   * it, and then delivers no other interrupt of the second.
   */
  #settle(): void {
    const memory = new Uint8Array(this.#cpu.wasm_memory.buffer)
    const [first, second] = [this.#cpu.get_pic_addr_master(), this.#cpu.get_pic_addr_slave()]
    const requests = (memory[second + REQUESTED] ?? 0) & (memory[second + ENABLED] ?? 0)
    if (requests !== 0) return
    for (const field of [REQUESTED, HIGH]) memory[first + field] = (memory[first + field] ?? 0) & ~CASCADE
  }
}
