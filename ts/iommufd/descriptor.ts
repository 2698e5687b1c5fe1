/** Descriptors of whoever calls: what commands take and give. */
import type { Task } from '../device/task.ts'

/** A file that a command gives. Callers are the processes that use it. */
export interface DescriptorFile {
  readonly kind: string
  read?(caller: unknown, into: Uint8Array, position: bigint | undefined): number
  write?(caller: unknown, from: Uint8Array, position: bigint | undefined): number
  poll?(): number
  release?(): void
}

/** A process that sends commands. */
export interface IommufdCaller extends Task {
  /** What a descriptor stands for. */
  file(fd: number): object | undefined
  /** Gives the caller a descriptor. @throws {VfioError} EMFILE */
  install(file: DescriptorFile): number
  /** Takes one back that the caller could not be told about. */
  remove(fd: number): void
}
