/** Migration data streams as open files, and what `VFIO_DEVICE_FEATURE` needs of its caller. */
import type { DeviceSession } from '../device/device-session.ts'
import type { FeatureCaller } from '../device/feature.ts'
import { MigrationFile } from '../device/migration-file.ts'
import type { DeviceMigration } from '../device/migration.ts'
import type { IoctlArgument, MigrationStream } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import { status } from '../native/syscall.ts'
import type { Caller, OpenFile } from './open-file.ts'

/** The open file of a migration stream. */
export class MigrationStreamFile implements OpenFile {
  readonly kind = 'vfio-migration'
  readonly #file: MigrationFile

  constructor(stream: MigrationStream, migration: DeviceMigration) {
    this.#file = new MigrationFile(stream, migration)
  }

  ioctl(_caller: Caller, request: number, argument: IoctlArgument): number {
    return this.#file.ioctl(request, argument)
  }

  read(_caller: Caller, into: Uint8Array, position: bigint | undefined): number {
    return this.#file.read(into, position)
  }

  write(_caller: Caller, from: Uint8Array, position: bigint | undefined): number {
    return this.#file.write(from, position)
  }

  release(): void {
    this.#file.release()
  }
}

/** Lets features reach the caller's memory and descriptors. */
export function featureCaller(caller: Caller, session: DeviceSession): FeatureCaller {
  return {
    readMemory: (address, into) => void status(caller.mm.read(address, into), 'VFIO_DEVICE_FEATURE', { address }),
    writeMemory: (address, from) => void status(caller.mm.write(address, from), 'VFIO_DEVICE_FEATURE', { address }),
    installStream: (stream) => {
      const { migration } = session.device
      if (migration === undefined) throw new VfioError('ENOTTY', 'VFIO_DEVICE_FEATURE')
      return caller.install(new MigrationStreamFile(stream, migration))
    },
    removeStream: (fd) => caller.remove(fd),
  }
}
