/** Device features and migration data, as a client asks for them by messages. */
import { bytesArgument } from '../device/bytes-argument.ts'
import type { DeviceSession } from '../device/device-session.ts'
import type { FeatureCaller } from '../device/feature.ts'
import type { IoctlArgument, MigrationStream } from '../device/ops.ts'
import { isErrno, VfioError } from '../errors.ts'
import { vfioDeviceFeature } from '../uapi/structs.ts'

const HEADER = vfioDeviceFeature.size

/** Keeps the data stream of a device that migrates: messages name none, so there is one at a time. */
export class ServedMigration {
  #stream: MigrationStream | undefined

  /** `VFIO_USER_DEVICE_FEATURE`: what is to be written into the answer. @throws {VfioError} as `VFIO_DEVICE_FEATURE` */
  feature(session: DeviceSession, flags: number, data: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(HEADER + data.byteLength)
    vfioDeviceFeature.encode({ argsz: bytes.byteLength, flags }, bytes)
    bytes.set(data, HEADER)
    let written = HEADER
    const argument = bytesArgument(bytes)
    const noting: IoctlArgument = {
      ...argument,
      write(from, offset = 0) {
        argument.write(from, offset)
        written = Math.max(written, offset + from.byteLength)
      },
    }
    session.feature(noting, { ...NO_MEMORY, installStream: (stream) => this.#install(stream) })
    return bytes.subarray(HEADER, written)
  }

  /** `VFIO_USER_MIG_DATA_READ`: as many bytes as asked for, unless there are no more. @throws {VfioError} EBADF nothing is being saved */
  read(length: number): Uint8Array {
    const stream = this.#stream
    if (stream?.read === undefined) throw new VfioError('EBADF', 'read', { reason: 'nothing is being saved' })
    const parts: Uint8Array[] = []
    for (let left = length; left > 0;) {
      const part = this.#part(stream, left, parts.length > 0)
      if (part.byteLength === 0) break
      parts.push(part)
      left -= part.byteLength
    }
    return Buffer.concat(parts)
  }

  /** `VFIO_USER_MIG_DATA_WRITE`. @throws {VfioError} EBADF nothing is being restored, and what the device refuses with */
  write(data: Uint8Array): void {
    const stream = this.#stream
    if (stream?.write === undefined) throw new VfioError('EBADF', 'write', { reason: 'nothing is being restored' })
    for (let done = 0; done < data.byteLength;) {
      const taken = stream.write(data.subarray(done))
      if (taken <= 0) throw new VfioError('EIO', 'write', { reason: 'the device takes no more' })
      done += taken
    }
  }

  /** Lets the stream go. */
  close(): void {
    const stream = this.#stream
    this.#stream = undefined
    stream?.release?.()
  }

  #install(stream: MigrationStream): number {
    this.close()
    this.#stream = stream
    return 0
  }

  /** A part of the data; where some have been read, a device that has no more for now ends there. */
  #part(stream: MigrationStream, length: number, some: boolean): Uint8Array {
    try {
      return stream.read?.(length) ?? new Uint8Array()
    } catch (error) {
      if (some && isErrno(error, 'ENOMSG')) return new Uint8Array()
      throw error
    }
  }
}

/** Nothing in a message is an address or a descriptor. */
const NO_MEMORY: FeatureCaller = {
  readMemory: (address) => {
    throw new VfioError('EFAULT', 'VFIO_DEVICE_FEATURE', { address })
  },
  writeMemory: (address) => {
    throw new VfioError('EFAULT', 'VFIO_DEVICE_FEATURE', { address })
  },
  installStream: () => {
    throw new VfioError('EOPNOTSUPP', 'VFIO_DEVICE_FEATURE')
  },
  removeStream: () => {},
  event: () => {
    throw new VfioError('EBADF', 'VFIO_DEVICE_FEATURE')
  },
  installRegion: () => {
    throw new VfioError('EOPNOTSUPP', 'VFIO_DEVICE_FEATURE')
  },
}
