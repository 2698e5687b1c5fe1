/**
 * Migration of an mtty card: which arcs move data, and the stream that carries it.
 *
 * The stream is a header of 24 bytes (magic, version, number of ports) that can be read while the card still runs, and
 * the state of each port, which follows in STOP_COPY. Resuming takes both and loads the ports on the way to STOP.
 */
import { MigrationMachine } from '../device/migration-state.ts'
import type { MigrationStream } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P,
  VFIO_MIGRATION_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY,
} from '../uapi/constants.ts'
import { SERIAL_PORT_STATE_SIZE, type SerialPort } from './serial-port.ts'

const HEADER_SIZE = 24
const MAGIC = 0x7e9d_0989_8c3e_2c4en
const VERSION_MAJOR = 1
const VERSION_MINOR = 0

/** Data on its way out of or into a card; ended, it answers ENODEV. */
interface Transfer {
  readonly bytes: Uint8Array
  filled: number
  ended: boolean
}

/** Migration of one card. */
export class MttyMigration extends MigrationMachine {
  readonly flags = VFIO_MIGRATION_STOP_COPY | VFIO_MIGRATION_P2P | VFIO_MIGRATION_PRE_COPY
  readonly #ports: readonly SerialPort[]
  #saving: Transfer | undefined
  #resuming: Transfer | undefined

  constructor(ports: readonly SerialPort[]) {
    super()
    this.#ports = ports
  }

  override dataSize(): bigint {
    return BigInt(this.#size)
  }

  override endStreams(): void {
    for (const transfer of [this.#saving, this.#resuming]) if (transfer !== undefined) transfer.ended = true
    this.#saving = undefined
    this.#resuming = undefined
  }

  protected override step(from: number, to: number): MigrationStream | undefined {
    if (to === RESUMING) return this.#resume()
    if (to === STOP_COPY) return this.#save(true)
    if (isPreCopy(to)) return isPreCopy(from) ? undefined : this.#save(false)
    if (from === RESUMING && to === STOP) this.#load()
    this.endStreams()
    return undefined
  }

  get #size(): number {
    return HEADER_SIZE + this.#ports.length * SERIAL_PORT_STATE_SIZE
  }

  /** Begins a saving stream where none is open, and puts the ports into it once they stand still. */
  #save(still: boolean): MigrationStream | undefined {
    const goesOn = this.#saving !== undefined
    const transfer = (this.#saving ??= this.#transfer(header(this.#ports.length)))
    if (still) {
      for (const port of this.#ports) transfer.filled = append(transfer, transfer.filled, port.save())
    }
    return goesOn ? undefined : this.#savingStream(transfer)
  }

  #savingStream(transfer: Transfer): MigrationStream {
    let position = 0
    return {
      read: (length) => {
        refuseEnded(transfer, 'read')
        const data = transfer.bytes.slice(position, Math.min(position + length, transfer.filled))
        position += data.byteLength
        return data
      },
      precopyInfo: () => {
        const name = 'VFIO_MIG_GET_PRECOPY_INFO'
        if (!isPreCopy(this.getState()))
          throw new VfioError('EINVAL', name, { reason: 'the device is not in PRE_COPY' })
        refuseEnded(transfer, name)
        return { initialBytes: BigInt(transfer.filled - position), dirtyBytes: 0n }
      },
    }
  }

  #resume(): MigrationStream {
    const transfer = (this.#resuming = this.#transfer(new Uint8Array(0)))
    let position = 0
    return {
      write: (data) => {
        if (position + data.byteLength > transfer.bytes.length)
          throw new VfioError('ENOMEM', 'write', { reason: `the state has ${transfer.bytes.length} bytes` })
        refuseEnded(transfer, 'write')
        const before = transfer.filled
        position = append(transfer, position, data)
        transfer.filled += data.byteLength
        if (before < HEADER_SIZE && transfer.filled >= HEADER_SIZE) this.#checkHeader(transfer)
        return data.byteLength
      },
    }
  }

  /** @throws {VfioError} EFAULT the stream is of another kind of card */
  #checkHeader({ bytes }: Transfer): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_SIZE)
    const fits =
      view.getBigUint64(0, true) === MAGIC &&
      view.getUint32(8, true) === VERSION_MAJOR &&
      view.getUint32(16, true) === this.#ports.length &&
      view.getUint32(20, true) === 0
    if (!fits) throw new VfioError('EFAULT', 'write', { reason: 'the stream is not that of such a card' })
  }

  /** @throws {VfioError} EINVAL the stream ended early */
  #load(): void {
    const transfer = this.#resuming
    if (transfer === undefined || transfer.filled < transfer.bytes.length) {
      throw new VfioError('EINVAL', 'VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE', { reason: 'the stream ended early' })
    }
    for (const [i, port] of this.#ports.entries()) {
      port.load(transfer.bytes.subarray(HEADER_SIZE + i * SERIAL_PORT_STATE_SIZE))
    }
  }

  #transfer(begin: Uint8Array): Transfer {
    const bytes = new Uint8Array(this.#size)
    bytes.set(begin)
    return { bytes, filled: begin.length, ended: false }
  }
}

function header(ports: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(HEADER_SIZE))
  view.setBigUint64(0, MAGIC, true)
  view.setUint32(8, VERSION_MAJOR, true)
  view.setUint32(12, VERSION_MINOR, true)
  view.setUint32(16, ports, true)
  return new Uint8Array(view.buffer)
}

/** Puts data at `at`; returns where it ends. */
function append(transfer: Transfer, at: number, data: Uint8Array): number {
  transfer.bytes.set(data, at)
  return at + data.byteLength
}

function isPreCopy(state: number): boolean {
  return state === PRE_COPY || state === PRE_COPY_P2P
}

/** @throws {VfioError} ENODEV */
function refuseEnded(transfer: Transfer, operation: string): void {
  if (transfer.ended) throw new VfioError('ENODEV', operation, { reason: 'the stream has ended' })
}
