/** PCI configuration space of an mtty card, with the few bytes that can be written. */
import { valueOf } from './access-pieces.ts'

/** Bytes that the config region reports; what lies behind reads as zero. */
export const MTTY_CONFIG_SIZE = 0xff

const VENDOR_DEVICE = 0x32534348
const COMMAND_STATUS = 0x0200_0001
/** Revision 0x10, class 07 (communication), subclass 00 (serial), interface 02 (16550). */
const REVISION_CLASS = 0x0700_0210
const BAR0 = 0x10
const BAR1 = 0x14
const LAST_BAR = 0x20
const SUBSYSTEM = 0x2c
const INTERRUPT_LINE = 0x3c
const INTERRUPT_PIN = 0x3d
const VENDOR_SPECIFIC = 0x40
const NAME = 0x60

const IO_SPACE = 1
/** An I/O BAR of eight bytes. */
const BAR_MASK = 0xffff_fff8

/** Configuration space of one card. */
export class MttyConfig {
  readonly #bytes = new DataView(new ArrayBuffer(MTTY_CONFIG_SIZE + 1))
  readonly #ports: number

  constructor(ports: number) {
    this.#ports = ports
    const put = (at: number, value: number) => this.#bytes.setUint32(at, value, true)
    put(0, VENDOR_DEVICE)
    put(4, COMMAND_STATUS)
    put(8, REVISION_CLASS)
    put(BAR0, IO_SPACE)
    if (ports === 2) put(BAR1, IO_SPACE)
    put(SUBSYSTEM, VENDOR_DEVICE)
    this.#bytes.setUint8(INTERRUPT_PIN, 1)
    for (let at = VENDOR_SPECIFIC; at < VENDOR_SPECIFIC + 16; at += 4) put(at, 0x23)
    this.#bytes.setUint8(VENDOR_SPECIFIC + 3, 0x80)
    for (const [i, letter] of [...'PCI Serial/UART'].entries()) this.#bytes.setUint8(NAME + i, letter.charCodeAt(0))
  }

  /** Reads from `offset` on; zeros beyond the end. */
  read(offset: number, into: Uint8Array): void {
    for (let i = 0; i < into.length; i++) {
      into[i] = offset + i < MTTY_CONFIG_SIZE ? this.#bytes.getUint8(offset + i) : 0
    }
  }

  /** Writes 1, 2 or 4 bytes: the interrupt line and whole BARs take them, a BAR's missing bytes being zero. */
  write(offset: number, from: Uint8Array): void {
    if (offset === INTERRUPT_LINE) this.#bytes.setUint8(offset, from[0] ?? 0)
    else if (offset >= BAR0 && offset <= LAST_BAR && offset % 4 === 0) this.#writeBar(offset, valueOf(from))
  }

  /** A BAR that is there keeps its two lowest bits; all ones ask for its size. The others stay zero. */
  #writeBar(offset: number, value: number): void {
    if ((offset - BAR0) / 4 >= this.#ports) return
    const kept = value === 0xffff_ffff ? BAR_MASK : value
    this.#bytes.setUint32(offset, kept | (this.#bytes.getUint8(offset) & 3), true)
  }
}
