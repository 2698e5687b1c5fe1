/** The part of the addon that is memory: bytes that can be mapped, and the address spaces of simulated processes. See `addon.ts` for its manners. */
import type { U64 } from '../shape.ts'

/** Zero or positive on success, a negated errno on refusal. */
export type NativeStatus = number

/** Like {@link NativeStatus} where the value is 64 bits wide: negative is a negated errno. */
export type NativeStatus64 = bigint

/** Where the bytes of memory come from. */
export type NativeMemoryKind = 'anonymous' | 'memfd' | 'file' | 'buffer'

/** Whether buffers over memory that is not the engine's can be made: refused by the engine, or by `VFIO_EXTERNAL_BUFFERS=0`. */
export type NativeExternalBuffers = 'allowed' | 'refused' | 'switched off'

/** What this package needs of a `WebAssembly.Memory` (whose type only the DOM library declares). */
export interface WebAssemblyMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  /** Grows the memory by `delta` pages of 64 KiB. */
  grow(delta: number): number
}

/** JavaScript memory that can be mapped. */
export type NativeMemorySource = ArrayBuffer | SharedArrayBuffer | WebAssemblyMemory

/** Bytes that can be mapped into address spaces and reached by DMA. Lives as long as a handle or a mapping needs it. */
export interface NativeMemory {
  /** Size in bytes. */
  readonly length: number
  readonly kind: NativeMemoryKind
  /** The descriptor behind a memfd or file (owned by the memory: do not close it), -1 where there is none. */
  fd(): number
  /** Tells whether both handles mean the same bytes (same object, wherever in it). */
  sameObject(other: NativeMemory): boolean
  /** Copies out. 0, or EFAULT: outside, detached, shrunk, or another thread's ArrayBuffer. */
  read(offset: U64, into: Uint8Array): NativeStatus
  /** Copies in. 0, or EFAULT. */
  write(offset: U64, from: Uint8Array): NativeStatus
  /** Sets `length` bytes to `value` (its low 8 bits). 0, or EFAULT. */
  fill(offset: U64, length: U64, value: number): NativeStatus
  /** Copies `length` bytes to `target`, as memmove does. 0, or EFAULT. */
  copy(offset: U64, target: NativeMemory, targetOffset: U64, length: U64): NativeStatus
  /** The value (little endian), one atomic access where aligned; EFAULT. */
  readU8(offset: U64): NativeStatus
  readU16(offset: U64): NativeStatus
  readU32(offset: U64): NativeStatus
  readU64(offset: U64): NativeStatus64
  /** 0, or EFAULT. Values out of range are a `RangeError`. */
  writeU8(offset: U64, value: number): NativeStatus
  writeU16(offset: U64, value: number): NativeStatus
  writeU32(offset: U64, value: number): NativeStatus
  writeU64(offset: U64, value: U64): NativeStatus
  /** Stores `desired` where `expected` stands; returns what stood there. EFAULT, EINVAL unaligned. */
  compareExchange32(offset: U64, expected: number, desired: number): NativeStatus
  compareExchange64(offset: U64, expected: U64, desired: U64): NativeStatus64
  /** Adds with wrap-around; returns what stood there. EFAULT, EINVAL unaligned. */
  fetchAdd32(offset: U64, value: number): NativeStatus
  fetchAdd64(offset: U64, value: U64): NativeStatus64
  /**
   * A buffer over the bytes, which it keeps; undefined where the engine refuses buffers over memory that is not its own, or
   * {@link NativeExternalBuffers} are switched off.
   * @throws EOPNOTSUPP the memory may not be written, or its address is not fixed; EBADF
   */
  externalBuffer(): ArrayBuffer | undefined
  /**
   * Puts the pages behind the descriptor in place of those of a `SharedArrayBuffer`. `view` shows all of a buffer that is as
   * long as the memory, was made with a `maxByteLength` and has not been used yet. Where this fails the buffer must not be used.
   * @throws EINVAL not of one length, or not whole pages; EOPNOTSUPP no descriptor, or one that others could cut; ENOMEM; EBADF
   */
  mapOver(view: Uint8Array): void
  /** A number by which another Worker of this process gets the same memory ({@link NativeMemoryClass.adopt}). */
  share(): bigint
  /** Lets this handle go (idempotent); mappings keep the bytes. */
  close(): void
}

/** Makes memory. */
export interface NativeMemoryClass {
  /** Private zeroed pages, of `huge` bytes each where it is given. @throws EINVAL zero length, no such pages; ENOMEM */
  anonymous(length: U64, huge?: U64): NativeMemory
  /** Pages behind a descriptor that other processes can map. @throws EINVAL, ENOMEM, EOPNOTSUPP not on this system */
  memfd(name: string, length: U64, huge?: U64): NativeMemory
  /**
   * JavaScript's own memory, referenced while the memory lives.
   *
   * Shared memory works from any thread. An ArrayBuffer or an unshared WebAssembly.Memory works on this JavaScript thread
   * only and is asked again at each use: detached, shrunk or on another thread, it answers EFAULT.
   * @throws EINVAL `offset + length` is outside the buffer, or length is zero
   */
  fromBuffer(buffer: NativeMemorySource, offset: U64, length: U64): NativeMemory
  /** Takes what `share()` gave, once per share, in any Worker. @throws EBADF unknown or already taken */
  adopt(token: bigint): NativeMemory
}

/** Limits of a simulated process. */
export interface NativeLimits {
  /** RLIMIT_MEMLOCK in bytes; 2^64-1 is no limit. */
  memlock: bigint
  capIpcLock: boolean
  /** Size of the system's pages in bytes, a power of two from 4096 to 2^20; default 4096. */
  pageSize?: number
}

/** Where and how {@link NativeAddressSpace.map} places memory. */
export interface NativeMapRequest {
  /** Wanted address (a multiple of 4096); absent: any free one. */
  hint?: U64
  /** Alignment of the address, a power of two; default 4096. */
  align?: U64
  memory: NativeMemory
  /** Offset into the memory and length; any number of bytes, areas end in the middle of a page if asked to. */
  offset: U64
  length: U64
  read: boolean
  write: boolean
  /** Size of the pages behind it where they are huge (`MAP_HUGETLB`): a power of two that divides offset and length. */
  pageSize?: U64
}

/** The memory of one simulated process: which bytes lie at which of its virtual addresses, and its lock accounting. */
export interface NativeAddressSpace {
  /** Size of the system's pages in bytes. */
  readonly pageSize: number
  /** Puts memory at an address. @throws EINVAL, EEXIST the hint is taken, ENOMEM */
  map(request: NativeMapRequest): bigint
  /** Removes what lies in the range, cutting areas as munmap does. @throws EINVAL */
  unmap(address: U64, length: U64): void
  /** Changes the permissions of a range. @throws EINVAL, ENOMEM a hole */
  protect(address: U64, length: U64, read: boolean, write: boolean): void
  /** Locks a range, charging its pages. @throws ENOMEM over the limit or a hole, EPERM */
  mlock(address: U64, length: U64): void
  /** Unlocks a range. @throws ENOMEM a hole */
  munlock(address: U64, length: U64): void
  /** `copy_from_user`: 0, or EFAULT; bytes before the bad address may have been copied. */
  read(address: U64, into: Uint8Array): NativeStatus
  /** `copy_to_user`: 0, or EFAULT; bytes before the bad address may have been copied. */
  write(address: U64, from: Uint8Array): NativeStatus
  /** Sets RLIMIT_MEMLOCK; 2^64-1 is no limit. */
  setLimit(bytes: U64): void
  /** Gives or takes CAP_IPC_LOCK. */
  setCapIpcLock(capable: boolean): void
  /** Makes the process one of the same user as another: they share the account of pinned memory. */
  joinUser(other: NativeAddressSpace): void
  /** Locked pages (`VmLck`, what type1 charges). */
  lockedVm(): bigint
  /** Pinned pages (`VmPin`, what iommufd charges). */
  pinnedVm(): bigint
  /** Adds pages to the locked-memory account. 0, or ENOMEM over the limit. */
  charge(pages: bigint): NativeStatus
  /** Takes pages off it; works after `close()`, too. */
  uncharge(pages: bigint): void
  /** The process is gone: drops its areas. Mappings made from it stay, as the kernel's pins do. Idempotent. */
  close(): void
}
