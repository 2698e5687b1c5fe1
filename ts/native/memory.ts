/** Native memory as callers see it: an owner from the binding, and raw calls by its handle. */
import { invalidArgType, VfioError } from '../errors.ts'
import { text, u64, type U64 } from '../shape.ts'
import type {
  NativeMemory,
  NativeMemoryClass,
  NativeMemoryKind,
  NativeMemorySource,
  WebAssemblyMemory,
} from './addon.ts'
import type { Binding, BindingMemory } from './binding.ts'

/** The one implementation of {@link NativeMemory}. */
export class MemoryHandle implements NativeMemory {
  readonly kind: NativeMemoryKind
  readonly length: number
  readonly #raw: Binding
  readonly #owner: BindingMemory
  #handle: number

  constructor(raw: Binding, owner: BindingMemory) {
    this.kind = owner.kind
    this.length = owner.length
    this.#raw = raw
    this.#owner = owner
    this.#handle = owner.handle
  }

  /** The handle of `memory` for a raw call. @throws {TypeError} it is not ours */
  static handleOf(memory: unknown, name: string): number {
    if (typeof memory !== 'object' || memory === null || !(#handle in memory)) {
      throw invalidArgType(name, 'native memory', memory)
    }
    return memory.#handle
  }

  fd(): number {
    return this.#owner.fd()
  }

  sameObject(other: NativeMemory): boolean {
    MemoryHandle.handleOf(other, 'other')
    return this.#owner.sameObject((other as MemoryHandle).#owner)
  }

  read(offset: U64, into: Uint8Array): number {
    return this.#raw.memoryRead(this.#handle, offset, into)
  }

  write(offset: U64, from: Uint8Array): number {
    return this.#raw.memoryWrite(this.#handle, offset, from)
  }

  fill(offset: U64, length: U64, value: number): number {
    return this.#raw.memoryFill(this.#handle, offset, length, value)
  }

  copy(offset: U64, target: NativeMemory, targetOffset: U64, length: U64): number {
    return this.#raw.memoryCopy(this.#handle, offset, MemoryHandle.handleOf(target, 'target'), targetOffset, length)
  }

  readU8(offset: U64): number {
    return this.#raw.memoryReadU8(this.#handle, offset)
  }

  readU16(offset: U64): number {
    return this.#raw.memoryReadU16(this.#handle, offset)
  }

  readU32(offset: U64): number {
    return this.#raw.memoryReadU32(this.#handle, offset)
  }

  readU64(offset: U64): bigint {
    return this.#raw.memoryReadU64(this.#handle, offset)
  }

  writeU8(offset: U64, value: number): number {
    return this.#raw.memoryWriteU8(this.#handle, offset, value)
  }

  writeU16(offset: U64, value: number): number {
    return this.#raw.memoryWriteU16(this.#handle, offset, value)
  }

  writeU32(offset: U64, value: number): number {
    return this.#raw.memoryWriteU32(this.#handle, offset, value)
  }

  writeU64(offset: U64, value: U64): number {
    return this.#raw.memoryWriteU64(this.#handle, offset, value)
  }

  compareExchange32(offset: U64, expected: number, desired: number): number {
    return this.#raw.memoryCompareExchange32(this.#handle, offset, expected, desired)
  }

  compareExchange64(offset: U64, expected: U64, desired: U64): bigint {
    return this.#raw.memoryCompareExchange64(this.#handle, offset, expected, desired)
  }

  fetchAdd32(offset: U64, value: number): number {
    return this.#raw.memoryFetchAdd32(this.#handle, offset, value)
  }

  fetchAdd64(offset: U64, value: U64): bigint {
    return this.#raw.memoryFetchAdd64(this.#handle, offset, value)
  }

  externalBuffer(): ArrayBuffer | undefined {
    return this.#owner.externalBuffer() ?? undefined
  }

  mapOver(view: Uint8Array): void {
    this.#owner.mapOver(view)
  }

  share(): bigint {
    return this.#owner.share()
  }

  close(): void {
    this.#handle = 0
    this.#owner.close()
  }
}

/** Makes memory through `raw`. */
export function memoryClass(raw: Binding): NativeMemoryClass {
  const { NativeMemory: Owner } = raw
  return {
    anonymous: (length, huge) => new MemoryHandle(raw, Owner.anonymous(u64(length, 'length'), optional(huge))),
    memfd: (name, length, huge) =>
      new MemoryHandle(raw, Owner.memfd(text(name, 'name'), u64(length, 'length'), optional(huge))),
    fromBuffer: (buffer, offset, length) =>
      new MemoryHandle(raw, borrow(raw, buffer, u64(offset, 'offset'), u64(length, 'length'))),
    adopt: (token) => new MemoryHandle(raw, Owner.adopt(u64(token, 'token'))),
  }
}

function optional(huge: U64 | undefined): bigint | undefined {
  return huge === undefined ? undefined : u64(huge, 'huge')
}

function borrow(raw: Binding, source: NativeMemorySource, offset: bigint, length: bigint): BindingMemory {
  const { NativeMemory: Owner } = raw
  if (source instanceof ArrayBuffer) return Owner.fromBuffer(source, offset, length)
  if (source instanceof SharedArrayBuffer) return Owner.fromShared(view(source, offset, length))
  if (!isWasmMemory(source)) {
    throw invalidArgType('buffer', 'an ArrayBuffer, SharedArrayBuffer or WebAssembly.Memory', source)
  }
  const { buffer } = source
  return buffer instanceof SharedArrayBuffer
    ? Owner.fromShared(view(buffer, offset, length))
    : Owner.fromWebAssembly(source, offset, length)
}

/** A view of fixed length, which keeps the shared buffer alive. */
function view(buffer: SharedArrayBuffer, offset: bigint, length: bigint): Uint8Array {
  if (length === 0n || offset + length > BigInt(buffer.byteLength)) {
    throw new VfioError('EINVAL', 'fromBuffer', { reason: 'the part is empty or not inside the buffer' })
  }
  return new Uint8Array(buffer, Number(offset), Number(length))
}

function isWasmMemory(value: unknown): value is WebAssemblyMemory {
  const wasm = (globalThis as { WebAssembly?: { Memory: new () => WebAssemblyMemory } }).WebAssembly
  return wasm !== undefined && value instanceof wasm.Memory
}
