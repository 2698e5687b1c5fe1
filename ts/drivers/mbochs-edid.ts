/** EDID region of an mbochs display: the user plugs a monitor in by writing its EDID and raising the link. */
import { VFIO_DEVICE_GFX_LINK_STATE_UP } from '../uapi/constants.ts'
import { vfioRegionGfxEdid } from '../uapi/structs.ts'
import { valueOf } from './access-pieces.ts'

/** Size of the region. */
export const MBOCHS_EDID_SIZE = 0x1000

const BLOB = 0x800
const BLOB_SIZE = 0x400
const REGISTER_SIZE = 4
const EDID_SIZE = offsetOf('edid_size')
const LINK_STATE = offsetOf('link_state')

/** The monitor as the user describes it. */
export class MbochsEdid {
  readonly #registers: DataView
  readonly #blob = new Uint8Array(BLOB_SIZE)

  /** `maxXres` and `maxYres`: what the display can show, 0 for no limit. */
  constructor(maxXres: number, maxYres: number) {
    const bytes = vfioRegionGfxEdid.bytes({ edidOffset: BLOB, edidMaxSize: BLOB_SIZE, maxXres, maxYres })
    this.#registers = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Reads a whole register, or bytes of the EDID; zeros elsewhere. */
  read(offset: number, into: Uint8Array): void {
    into.fill(0)
    if (offset >= BLOB) into.set(this.#part(offset - BLOB, into.length) ?? [])
    else if (this.#isRegister(offset, into.length)) {
      new DataView(into.buffer, into.byteOffset).setUint32(0, this.#registers.getUint32(offset, true), true)
    }
  }

  /** Writes the EDID, its size and the state of the link; other registers only tell. */
  write(offset: number, from: Uint8Array): void {
    if (offset >= BLOB) this.#part(offset - BLOB, from.length)?.set(from)
    else if ((offset === EDID_SIZE || offset === LINK_STATE) && this.#isRegister(offset, from.length)) {
      this.#registers.setUint32(offset, valueOf(from), true)
    }
  }

  /** What the guest reads of the EDID: zeros while the link is down, and from its end on. */
  show(offset: number, into: Uint8Array): void {
    into.fill(0)
    if (this.#registers.getUint32(LINK_STATE, true) !== VFIO_DEVICE_GFX_LINK_STATE_UP) return
    if (offset < this.#registers.getUint32(EDID_SIZE, true)) into.set(this.#part(offset, into.length) ?? [])
  }

  #isRegister(offset: number, length: number): boolean {
    return length === REGISTER_SIZE && offset % REGISTER_SIZE === 0 && offset + length <= this.#registers.byteLength
  }

  /** A part of the EDID, if there is such a part. */
  #part(offset: number, length: number): Uint8Array | undefined {
    return offset + length > BLOB_SIZE ? undefined : this.#blob.subarray(offset, offset + length)
  }
}

function offsetOf(register: string): number {
  return vfioRegionGfxEdid.fields[register]?.offset ?? -1
}
