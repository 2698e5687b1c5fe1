/**
 * A migration data stream as a file: what stands behind the descriptor that `VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE` gives.
 *
 * It is a stream like a pipe: positions are refused, and only the direction of the transfer is open.
 */
import { VfioError } from '../errors.ts'
import { VFIO_PRECOPY_INFO_REINIT } from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { vfioPrecopyInfo } from '../uapi/structs.ts'
import { type DeviceMigration, precopyInfo } from './migration.ts'
import type { IoctlArgument, MigrationStream } from './ops.ts'

/** The byte-exact operations of a data stream; the descriptor table wraps them. */
export class MigrationFile {
  readonly #stream: MigrationStream
  readonly #migration: DeviceMigration
  #released = false

  constructor(stream: MigrationStream, migration: DeviceMigration) {
    this.#stream = stream
    this.#migration = migration
  }

  /**
   * Reads into `into`; returns the bytes read, 0 at the end.
   * @throws {VfioError} ESPIPE at a position, EBADF the stream is for writing, and what the device throws
   */
  read(into: Uint8Array, position?: bigint): number {
    this.#refusePosition('read', position)
    if (this.#stream.read === undefined) throw new VfioError('EBADF', 'read', { reason: 'the stream is for writing' })
    const data = this.#stream.read(into.byteLength)
    if (data.byteLength > into.byteLength)
      throw new VfioError('EIO', 'read', { reason: 'the device gave more than was asked for' })
    into.set(data)
    return data.byteLength
  }

  /**
   * Writes; returns the bytes taken.
   * @throws {VfioError} ESPIPE at a position, EBADF the stream is for reading, and what the device throws
   */
  write(from: Uint8Array, position?: bigint): number {
    this.#refusePosition('write', position)
    if (this.#stream.write === undefined) throw new VfioError('EBADF', 'write', { reason: 'the stream is for reading' })
    return this.#stream.write(from)
  }

  /**
   * Answers `VFIO_MIG_GET_PRECOPY_INFO`; returns the ioctl's value.
   * @throws {VfioError} ENOTTY another request or no stream to save to, EFAULT, EINVAL a short argsz, and what the device
   *   throws (EINVAL outside PRE_COPY)
   */
  ioctl(request: number, argument: IoctlArgument): number {
    const name = 'VFIO_MIG_GET_PRECOPY_INFO'
    if (request !== IOCTL.VFIO_MIG_GET_PRECOPY_INFO || this.#stream.precopyInfo === undefined) {
      throw new VfioError('ENOTTY', name)
    }
    const info = vfioPrecopyInfo.decode(argument.read(vfioPrecopyInfo.size))
    if (info.argsz < vfioPrecopyInfo.size)
      throw new VfioError('EINVAL', name, { reason: 'argsz is less than the structure' })
    const { initialBytes, dirtyBytes, reinit = false } = precopyInfo(this.#stream)
    const flags = !this.#migration.precopyInfoV2 ? info.flags : reinit ? VFIO_PRECOPY_INFO_REINIT : 0
    argument.write(vfioPrecopyInfo.bytes({ ...info, flags, initialBytes, dirtyBytes }))
    return 0
  }

  /** The last descriptor was closed. */
  release(): void {
    if (this.#released) return
    this.#released = true
    this.#stream.release?.()
  }

  #refusePosition(operation: string, position: bigint | undefined): void {
    if (position !== undefined) throw new VfioError('ESPIPE', operation, { reason: 'the stream has no positions' })
  }
}
