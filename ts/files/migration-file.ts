/** Migration data streams as open files. */
import { MigrationFile } from '../device/migration-file.ts'
import type { DeviceMigration } from '../device/migration.ts'
import type { IoctlArgument, MigrationStream } from '../device/ops.ts'
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
