/** The built-in DMA engine, modelled natively, and the entries of its ring. */
import { outOfRange } from '../errors.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { bytes, oneOf, u32, u64, type U64 } from '../shape.ts'
import type { PciFunctionDescriptor, PciFunctionOptions, PciHardware } from './hardware.ts'
import { identityOf } from './identity.ts'
import { NativeHardware } from './native-hardware.ts'

const DEFAULTS = {
  vendor: 0x1234,
  device: 0x0d3a,
  subsystemVendor: 0x1234,
  subsystemDevice: 0x0d3a,
  revision: 1,
  classCode: 0x088000,
}

const ENTRY_SIZE = 32
const WITH_INTERRUPT = 1
const OPERATIONS = ['none', 'copy', 'fill', 'compare', 'crc32c'] as const satisfies readonly DmaEngineOperation[]
const STATUSES: Readonly<Record<number, DmaEngineStatus>> = {
  0: 'pending',
  1: 'done',
  2: 'differs',
  0x10: 'unknown operation',
  0x11: 'bad length',
  0x12: 'source fault',
  0x13: 'destination fault',
}

/** What an entry asks for. */
export type DmaEngineOperation = 'none' | 'copy' | 'fill' | 'compare' | 'crc32c'

/** What became of an entry. */
export type DmaEngineStatus =
  'pending' | 'done' | 'differs' | 'unknown operation' | 'bad length' | 'source fault' | 'destination fault'

/** An entry of the ring. */
export interface DmaEngineRequest {
  operation: DmaEngineOperation
  /** Bytes, up to 4 MiB. */
  length: number
  source?: U64
  /** For a compare, what to compare with. */
  destination?: U64
  /** Eight bytes that a fill repeats. */
  pattern?: U64
  /** Asks for the interrupt when the ring has been worked off. */
  interrupt?: boolean
}

/**
 * A device that copies, fills, compares and checksums memory by descriptors in a ring, to measure and to test with.
 *
 * BAR 0 has registers: 0x00 identification, 0x04 most entries of a ring, 0x08 control (1 runs it), 0x0c status, 0x10 address of
 * the ring (8 bytes), 0x18 its entries (a power of two up to 1024), 0x1c tail, 0x20 head, 0x28 entries done (8 bytes).
 * Writing the tail does the entries before it; the write returns when they are done. MSI-X has one vector.
 */
export class DmaEngine implements PciFunctionDescriptor {
  /** Offsets of the registers in BAR 0. */
  static readonly REGISTERS = Object.freeze({
    id: 0x00,
    limit: 0x04,
    control: 0x08,
    status: 0x0c,
    ring: 0x10,
    entries: 0x18,
    tail: 0x1c,
    head: 0x20,
    done: 0x28,
  })
  /** Bytes of an entry. */
  static readonly ENTRY_SIZE = ENTRY_SIZE

  readonly #options: PciFunctionOptions

  /** @throws {TypeError} an option of the wrong shape */
  constructor(options: PciFunctionOptions = {}) {
    identityOf(options, DEFAULTS)
    this.#options = { ...options }
  }

  create(name: string): PciHardware {
    const { multifunction = false } = this.#options
    const identity = { name, multifunction, ...identityOf(this.#options, DEFAULTS) }
    return new NativeHardware(syscall('create', () => addon().NativePciFunction.dmaEngine(identity)))
  }

  /**
   * Writes an entry into a copy of the ring, its status pending.
   * @throws {TypeError} a value of the wrong shape
   * @throws {RangeError} an entry outside the ring
   */
  static encode(request: DmaEngineRequest, ring: Uint8Array, entry: number): void {
    const view = entryOf(ring, entry)
    const operation = OPERATIONS.indexOf(oneOf(request.operation, OPERATIONS, 'operation'))
    view.setUint8(0, operation)
    view.setUint8(1, request.interrupt === true ? WITH_INTERRUPT : 0)
    view.setUint16(2, 0, true)
    view.setUint32(4, u32(request.length, 'length'), true)
    view.setBigUint64(8, u64(request.source ?? 0, 'source'), true)
    view.setBigUint64(16, u64(request.destination ?? 0, 'destination'), true)
    view.setBigUint64(24, u64(request.pattern ?? 0, 'pattern'), true)
  }

  /**
   * Reads what became of an entry: its status, and the checksum or the place of the first difference.
   * @throws {TypeError} a value of the wrong shape
   * @throws {RangeError} an entry outside the ring
   */
  static outcome(ring: Uint8Array, entry: number): { status: DmaEngineStatus | 'unknown'; result: bigint } {
    const view = entryOf(ring, entry)
    return { status: STATUSES[view.getUint16(2, true)] ?? 'unknown', result: view.getBigUint64(24, true) }
  }
}

function entryOf(ring: Uint8Array, entry: number): DataView {
  const { buffer, byteOffset, byteLength } = bytes(ring, 'ring')
  const at = u32(entry, 'entry') * ENTRY_SIZE
  if (at + ENTRY_SIZE > byteLength) throw outOfRange('entry', `< ${Math.floor(byteLength / ENTRY_SIZE)}`, entry)
  return new DataView(buffer, byteOffset + at, ENTRY_SIZE)
}
