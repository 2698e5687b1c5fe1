/** Files that a virtual machine keeps open. */
import type { Task } from '../device/task.ts'

/** An open file, held. */
export interface HeldFile {
  /** The file itself: the same one is the same object. */
  readonly file: {
    readonly kind: string
    /** A virtual machine uses it from now on, or none any more. */
    setMachine?(machine: object | undefined): void
  }
  /** Lets it go; the last holder closes it. */
  release(): void
}

/** A file that a request gives. */
export interface KvmDescriptorFile {
  readonly kind: string
  release?(): void
}

/** A process that uses virtual machines. */
export interface KvmCaller extends Task {
  /** Holds the open file behind a descriptor. */
  hold(fd: number): HeldFile | undefined
  /** Gives the caller a descriptor. @throws {VfioError} EMFILE */
  install(file: KvmDescriptorFile): number
  /** Takes one back that the caller could not be told about. */
  remove(fd: number): void
}
