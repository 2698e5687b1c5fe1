/** PCI configuration space of a sample display, of which nothing but its BARs can be written. */
import { valueOf } from './access-pieces.ts'

/** Bytes that the config region reports; what lies behind reads as zero. */
export const DISPLAY_CONFIG_SIZE = 0xff

/** I/O and memory are on; writes do not change it. */
const COMMAND = 3
const STATUS_CAPABILITIES = 0x10
/** Revision 1, class 03 (display), subclass 80 (other). */
const REVISION_CLASS = 0x0380_0001
const SUBSYSTEM = 0x1100_1af4
const BAR0 = 0x10
const CAPABILITY_POINTER = 0x34
/** Where the only capability lies. */
const CAPABILITY = 0x40
const PREFETCHABLE = 8
const BAR_FLAGS = 0xf
const ALL_ONES = 0xffff_ffff

/** A memory BAR of 32 bits; `size` is a power of two. */
export interface DisplayBar {
  index: number
  size: number
  prefetchable: boolean
}

/** What sets one kind of display apart. */
export interface DisplayIdentity {
  vendor: number
  device: number
  bars: readonly DisplayBar[]
  /** A capability, header included. */
  capability?: Uint8Array
}

/** Configuration space of one display. */
export class DisplayConfig {
  readonly #bytes = new DataView(new ArrayBuffer(DISPLAY_CONFIG_SIZE + 1))
  /** Size of each BAR by its place. */
  readonly #bars: ReadonlyMap<number, number>

  constructor({ vendor, device, bars, capability }: DisplayIdentity) {
    const put = (at: number, value: number) => this.#bytes.setUint32(at, value, true)
    this.#bars = new Map(bars.map(({ index, size }) => [BAR0 + 4 * index, size]))
    put(0, device * 0x1_0000 + vendor)
    put(4, capability === undefined ? COMMAND : COMMAND + STATUS_CAPABILITIES * 0x1_0000)
    put(8, REVISION_CLASS)
    for (const { index, prefetchable } of bars) put(BAR0 + 4 * index, prefetchable ? PREFETCHABLE : 0)
    put(0x2c, SUBSYSTEM)
    if (capability === undefined) return
    put(CAPABILITY_POINTER, CAPABILITY)
    new Uint8Array(this.#bytes.buffer).set(capability, CAPABILITY)
  }

  /** Reads from `offset` on; zeros beyond the end. */
  read(offset: number, into: Uint8Array): void {
    for (let i = 0; i < into.length; i++) {
      into[i] = offset + i < DISPLAY_CONFIG_SIZE ? this.#bytes.getUint8(offset + i) : 0
    }
  }

  /** Writes 1, 2 or 4 bytes: a write to the start of a BAR is one of all of it, missing bytes being zero. */
  write(offset: number, from: Uint8Array): void {
    const size = this.#bars.get(offset)
    if (size === undefined) return
    const value = valueOf(from)
    const address = value === ALL_ONES ? -size : value & ~BAR_FLAGS
    this.#bytes.setUint32(offset, address | (this.#bytes.getUint8(offset) & BAR_FLAGS), true)
  }
}
