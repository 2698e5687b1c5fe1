/**
 * An open file of the byte-exact door: what stands behind a descriptor of a simulated process.
 *
 * Concrete files (container, group, device, eventfd, migration stream) implement it; an absent member is answered with
 * the errno that the kernel gives for a file without that operation.
 */
import type { IoctlArgument, RegionMapping } from '../device/ops.ts'
import type { NativeAddressSpace } from '../native/addon.ts'

/** Who makes a call: whose memory pointers mean, whose descriptors numbers mean, whose limits are charged. */
export interface Caller {
  readonly mm: NativeAddressSpace
  /** Looks a descriptor of the calling process up. */
  file(fd: number): OpenFile | undefined
  /** Installs a file and returns its descriptor. */
  install(file: OpenFile): number
  /** Tells whether the process has a capability such as `CAP_SYS_ADMIN`. */
  capable(capability: string): boolean
}

/** Operations of an open file. Positions and lengths are in bytes. */
export interface OpenFile {
  /** What kind of file it is, such as `'vfio-container'`; ioctls that take descriptors look at it. */
  readonly kind: string
  ioctl?(caller: Caller, request: number, argument: IoctlArgument): number
  /** Reads at `position` (undefined: a stream read). Returns the bytes read. */
  read?(caller: Caller, into: Uint8Array, position: bigint | undefined): number
  write?(caller: Caller, from: Uint8Array, position: bigint | undefined): number
  mmap?(caller: Caller, offset: bigint, length: bigint, access: { read: boolean; write: boolean; execute: boolean; shared: boolean }): RegionMapping
  /** POLLIN | POLLOUT | POLLERR bits that are ready. */
  poll?(): number
  /** The last descriptor of this file was closed. */
  release?(): void
}
