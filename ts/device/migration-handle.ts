/** The typed handle of an open device's migration: states, and the data that moves between two of them. */
import { VfioError } from '../errors.ts'
import { bytes, u32 } from '../shape.ts'
import type { DeviceSession } from './device-session.ts'
import { type DeviceMigration, precopyInfo } from './migration.ts'
import type { MigrationStream, PrecopyInfo } from './ops.ts'

const CHUNK = 65_536

/** Migration of an open device. States are `VFIO_DEVICE_STATE_*`. */
export class Migration {
  readonly #session: DeviceSession

  private constructor(session: DeviceSession) {
    this.#session = session
  }

  /**
   * Gives the migration of an open device.
   * @internal
   */
  static of(session: DeviceSession): Migration {
    const migration = new Migration(session)
    void migration.#migration
    return migration
  }

  /** `VFIO_MIGRATION_*`: which optional states the device knows (`VFIO_DEVICE_FEATURE_MIGRATION`). @throws {VfioError} EBADF closed */
  get flags(): number {
    return this.#migration.flags
  }

  /** The state that the device is in. @throws {VfioError} EBADF */
  get state(): number {
    return this.#migration.state
  }

  /**
   * Asks for a state (`VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE`), which may take several steps; returns the transfer that begins
   * with it: to read from in PRE_COPY and STOP_COPY, to write to in RESUMING. STOP_COPY after PRE_COPY goes on with the transfer
   * that PRE_COPY gave.
   * @throws {VfioError} EINVAL no such state or no way to it, EBADF, and what the device refuses with
   */
  setState(state: number): MigrationTransfer | undefined {
    const stream = this.#migration.setState(u32(state, 'state'))
    return stream === undefined ? undefined : new MigrationTransfer(stream)
  }

  /** Bytes that stop-copy will transfer, an estimate (`VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`). @throws {VfioError} ENOTTY the device does not tell, EBADF */
  dataSize(): bigint {
    return this.#migration.dataSize()
  }

  get #migration(): DeviceMigration {
    this.#session.ops('VFIO_DEVICE_FEATURE')
    const { migration, name } = this.#session.device
    if (migration === undefined)
      throw new VfioError('ENOTTY', 'VFIO_DEVICE_FEATURE', { reason: `${name} does not migrate` })
    return migration
  }
}

/** Device state on its way out of or into a device. */
export class MigrationTransfer {
  readonly #stream: MigrationStream
  #closed = false

  constructor(stream: MigrationStream) {
    this.#stream = stream
  }

  /** Reads up to `length` bytes; none are the end. @throws {VfioError} EBADF closed or to be written to, ENODEV the device has moved on */
  read(length = CHUNK): Uint8Array {
    const stream = this.#open('read')
    if (stream.read === undefined) throw new VfioError('EBADF', 'read', { reason: 'the transfer goes into the device' })
    return stream.read(u32(length, 'length'))
  }

  /** Reads to the end. @throws {VfioError} as {@link read} */
  readAll(): Uint8Array {
    const parts: Uint8Array[] = []
    for (let part = this.read(); part.byteLength > 0; part = this.read()) parts.push(part)
    return new Uint8Array(Buffer.concat(parts))
  }

  /** Writes; returns the bytes taken. @throws {VfioError} EBADF closed or to be read from, ENOMEM too much, EFAULT not such a device's, ENODEV */
  write(data: Uint8Array): number {
    const stream = this.#open('write')
    if (stream.write === undefined)
      throw new VfioError('EBADF', 'write', { reason: 'the transfer comes from the device' })
    return stream.write(bytes(data, 'data'))
  }

  /** What can be read before the device stops (`VFIO_MIG_GET_PRECOPY_INFO`). @throws {VfioError} ENOTTY, EBADF, EINVAL not in PRE_COPY */
  precopyInfo(): PrecopyInfo {
    const stream = this.#open('VFIO_MIG_GET_PRECOPY_INFO')
    return precopyInfo(stream)
  }

  /** Lets the transfer go (idempotent). */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stream.release?.()
  }

  /** Closes the transfer. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(operation: string): MigrationStream {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the transfer is closed' })
    return this.#stream
  }
}
