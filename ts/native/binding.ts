/**
 * What the `.node` file itself exports: classes that own things, and raw calls that know them by their handle.
 *
 * Only the wrappers beside this file use it; everyone else uses {@link Addon}. Raw calls take handles (0 is "closed"), answer
 * with a number or a bigint that is a negated errno where negative, and are declared by hand: the binding generates
 * no types for them.
 */
import type { U64 } from '../shape.ts'
import type { NativeMemoryKind } from './addon.ts'

/** Owner of memory. */
export interface BindingMemory {
  readonly handle: number
  readonly length: number
  readonly kind: NativeMemoryKind
  fd(): number
  sameObject(other: BindingMemory): boolean
  share(): bigint
  close(): void
}

/** Owner of an address space. */
export interface BindingAddressSpace {
  readonly handle: number
  map(hint: bigint | undefined, align: bigint, memory: number, offset: bigint, length: bigint, prot: number): bigint
  unmap(address: bigint, length: bigint): void
  protect(address: bigint, length: bigint, prot: number): void
  mlock(address: bigint, length: bigint): void
  munlock(address: bigint, length: bigint): void
  setLimits(memlock: bigint | undefined, capIpcLock: boolean | undefined): void
  lockedVm(): bigint
  pinnedVm(): bigint
  close(): void
}

/** Owner of an event counter. */
export interface BindingEventFd {
  readonly handle: number
  fd(): number
  watch(callback: (count: bigint) => void): void
  unwatch(): void
  close(): void
}

/** Classes and functions that throw. */
export interface BindingClasses {
  enterRealm(wasmBuffer: (() => unknown) | undefined, mainThread: boolean): void
  debugPanic(message: string): never
  NativeMemory: {
    anonymous(length: bigint): BindingMemory
    memfd(name: string, length: bigint): BindingMemory
    fromShared(view: Uint8Array): BindingMemory
    fromBuffer(buffer: unknown, offset: bigint, length: bigint): BindingMemory
    fromWebAssembly(memory: unknown, offset: bigint, length: bigint): BindingMemory
    adopt(token: bigint): BindingMemory
  }
  NativeAddressSpace: new (memlock: bigint, capIpcLock: boolean) => BindingAddressSpace
  NativeEventFd: {
    create(initial: bigint): BindingEventFd
    /** Without a descriptor, as systems without eventfds have it. */
    inProcess(initial: bigint): BindingEventFd
    fromFd(fd: number): BindingEventFd
  }
}

/** Raw calls on memory. */
export interface RawMemory {
  memoryRead(memory: number, offset: U64, into: Uint8Array): number
  memoryWrite(memory: number, offset: U64, from: Uint8Array): number
  memoryFill(memory: number, offset: U64, length: U64, value: number): number
  memoryCopy(memory: number, offset: U64, target: number, targetOffset: U64, length: U64): number
  memoryReadU8(memory: number, offset: U64): number
  memoryReadU16(memory: number, offset: U64): number
  memoryReadU32(memory: number, offset: U64): number
  memoryReadU64(memory: number, offset: U64): bigint
  memoryWriteU8(memory: number, offset: U64, value: number): number
  memoryWriteU16(memory: number, offset: U64, value: number): number
  memoryWriteU32(memory: number, offset: U64, value: number): number
  memoryWriteU64(memory: number, offset: U64, value: U64): number
  memoryCompareExchange32(memory: number, offset: U64, expected: number, desired: number): number
  memoryCompareExchange64(memory: number, offset: U64, expected: U64, desired: U64): bigint
  memoryFetchAdd32(memory: number, offset: U64, value: number): number
  memoryFetchAdd64(memory: number, offset: U64, value: U64): bigint
}

/** Raw calls on address spaces. */
export interface RawAddressSpace {
  addressSpaceRead(mm: number, address: U64, into: Uint8Array): number
  addressSpaceWrite(mm: number, address: U64, from: Uint8Array): number
}

/** Raw calls on event counters. */
export interface RawEventFd {
  eventFdSignal(event: number, value: U64): number
  eventFdRead(event: number): bigint
}

/** Everything in the `.node` file. */
export interface Binding extends BindingClasses, RawMemory, RawAddressSpace, RawEventFd {}
