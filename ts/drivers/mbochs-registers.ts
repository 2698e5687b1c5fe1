/**
 * Registers of an mbochs display in BAR 2: the monitor's EDID, and the Bochs display interface by which a guest sets the mode.
 *
 * The registers of the interface are 16 bits wide and answer accesses of that width alone.
 */
import { valueOf } from './access-pieces.ts'
import { PIXEL_SIZE, XRGB8888 } from './display-plane.ts'
import type { MbochsEdid } from './mbochs-edid.ts'

/** Size of the BAR. */
export const MBOCHS_REGISTERS_SIZE = 0x1000

const EDID_SIZE = 0x400
const DISPI = 0x500
const DISPI_REGISTERS = 11
const WIDTH = 2

const ID = 0
const X_RESOLUTION = 1
const Y_RESOLUTION = 2
const BITS_PER_PIXEL = 3
const ENABLE = 4
const VIRTUAL_WIDTH = 6
const X_OFFSET = 8
const Y_OFFSET = 9
const MEMORY_64K = 10

const VERSION_5 = 0xb0c5
const ENABLED = 1
const LEAST_RESOLUTION = 64
const CHUNK = 0x1_0000

/** What the display shows: `offset` and `size` are the part of video memory, in bytes. */
export interface MbochsMode {
  drmFormat: number
  width: number
  height: number
  stride: number
  offset: number
  size: number
}

/** The registers of one display. */
export class MbochsRegisters {
  readonly #dispi = new Uint16Array(DISPI_REGISTERS)
  readonly #edid: MbochsEdid
  readonly #memory: number

  /** `memory`: bytes of video memory. */
  constructor(edid: MbochsEdid, memory: number) {
    this.#edid = edid
    this.#memory = memory
    this.reset()
  }

  /** Sets the registers of the interface back; the monitor stays. */
  reset(): void {
    this.#dispi.fill(0)
    this.#dispi[ID] = VERSION_5
    this.#dispi[MEMORY_64K] = this.#memory / CHUNK
  }

  /** Reads; zeros where nothing answers. */
  read(offset: number, into: Uint8Array): void {
    if (offset < EDID_SIZE) return this.#edid.show(offset, into)
    const value = isDispi(offset, into.length) ? this.#register(indexOf(offset)) : 0
    into.fill(0).set(into.length === WIDTH ? [value & 0xff, value >> 8] : [])
  }

  /** Writes; what is no register of the interface takes nothing. */
  write(offset: number, from: Uint8Array): void {
    if (isDispi(offset, from.length)) this.#dispi[indexOf(offset)] = valueOf(from)
  }

  /** The mode that the registers set; undefined while it is off, or none that the display can show. */
  mode(): MbochsMode | undefined {
    if ((this.#register(ENABLE) & ENABLED) === 0 || this.#register(BITS_PER_PIXEL) !== 8 * PIXEL_SIZE) return undefined
    const width = this.#register(X_RESOLUTION)
    const height = this.#register(Y_RESOLUTION)
    if (width < LEAST_RESOLUTION || height < LEAST_RESOLUTION) return undefined
    const stride = Math.max(this.#register(VIRTUAL_WIDTH), width) * PIXEL_SIZE
    const size = stride * height
    const offset = this.#register(X_OFFSET) * PIXEL_SIZE + this.#register(Y_OFFSET) * stride
    if (offset + size > this.#memory) return undefined
    return { drmFormat: XRGB8888, width, height, stride, offset, size }
  }

  #register(index: number): number {
    return this.#dispi[index] ?? 0
  }
}

/** Pieces are aligned, so that one of the right width is all of a register. */
function isDispi(offset: number, length: number): boolean {
  return length === WIDTH && offset >= DISPI && indexOf(offset) < DISPI_REGISTERS
}

function indexOf(offset: number): number {
  return (offset - DISPI) / WIDTH
}
