/**
 * An open file of the byte-exact door: what stands behind a descriptor of a simulated process.
 *
 * Concrete files (container, group, device, eventfd, migration stream) implement it; an absent member is answered with
 * the errno that the kernel gives for a file without that operation.
 */
import type { EventTarget64, IoctlArgument, RegionMapping } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import type { GroupSession } from '../group/group-session.ts'
import type { GroupContainer } from '../group/vfio-group.ts'

/** Who makes a call: whose memory pointers mean, whose descriptors numbers mean, whose limits are charged. */
export interface Caller extends Task {
  /** Looks a descriptor of the calling process up. */
  file(fd: number): OpenFile | undefined
  /**
   * Holds the open file behind a descriptor, whatever becomes of the descriptor.
   * @internal
   */
  hold(fd: number): HeldFile | undefined
  /** Installs a file and returns its descriptor. @throws {VfioError} EMFILE */
  install(file: OpenFile): number
  /** Takes a descriptor back that the caller could not be told about. */
  remove(fd: number): void
}

/** An open file that somebody holds beside its descriptors. */
export interface HeldFile {
  readonly file: OpenFile
  /** Lets it go (idempotent); the last holder closes it. */
  release(): void
}

/** Operations of an open file. Positions and lengths are in bytes. */
export interface OpenFile {
  /** What kind of file it is, such as `'vfio-container'`. */
  readonly kind: string
  /**
   * What groups can be put into, for `VFIO_GROUP_SET_CONTAINER`.
   * @internal
   */
  readonly groupContainer?: GroupContainer
  /**
   * The open group, for requests that take groups by descriptor.
   * @internal
   */
  readonly groupSession?: GroupSession
  /** A virtual machine uses the file from now on, or none any more (`KVM_DEV_VFIO_FILE_ADD`). */
  setMachine?(machine: object | undefined): void
  /** The event counter, for requests that take eventfds. */
  event?(): EventTarget64
  /** Answers a request; absent: ENOTTY. Returns the ioctl's value. @throws {VfioError} */
  ioctl?(caller: Caller, request: number, argument: IoctlArgument): number
  /** Reads at `position` (undefined: a stream read); absent: EINVAL. Returns the bytes read. @throws {VfioError} */
  read?(caller: Caller, into: Uint8Array, position: bigint | undefined): number
  /** Writes at `position`; absent: EINVAL. Returns the bytes written. @throws {VfioError} */
  write?(caller: Caller, from: Uint8Array, position: bigint | undefined): number
  /** Maps a part; absent: ENODEV. @throws {VfioError} */
  mmap?(caller: Caller, offset: bigint, length: bigint, access: MmapAccess): RegionMapping
  /** POLLIN | POLLOUT | POLLERR bits that are ready; absent: POLLIN | POLLOUT. */
  poll?(): number
  /** The last descriptor of this file was closed. */
  release?(): void
}

/** How a mapping may be used: `PROT_*` and `MAP_SHARED`. */
export interface MmapAccess {
  read: boolean
  write: boolean
  execute: boolean
  shared: boolean
}
