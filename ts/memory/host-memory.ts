/**
 * Memory that can be mapped for DMA: pages of this package, a memfd, or JavaScript's own buffers.
 *
 * The bytes are reached by copies and by typed accessors; {@link HostMemory.view} is an extra where the runtime allows it, since
 * some refuse views on memory that is not theirs. Others (a device, another thread or process) may change the bytes at any moment; an aligned access of up to
 * eight bytes is one access, longer copies are not atomic. Integers are little endian, as devices expect them.
 */
import { invalidArgType, VfioError, type VfioErrorDetails } from '../errors.ts'
import type { NativeMemory, NativeMemoryKind, NativeMemorySource, NativeStatus } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { bufferOver } from './view.ts'
import { bytes, oneOf, record, text, u32, u64, type U64 } from '../shape.ts'

/** How {@link HostMemory.allocate} gets its pages. */
export interface AllocateOptions {
  /** `'anonymous'` (default): private to this process; `'memfd'`: behind a descriptor that other processes can map (Linux). */
  kind?: 'anonymous' | 'memfd'
  /** Name of a memfd, as `/proc` shows it. */
  name?: string
  /**
   * Size in bytes of the pages that it consists of, where they are to be huge (Linux): 2 MiB or 1 GiB on x86. The system has to
   * have them in reserve (`/sys/kernel/mm/hugepages`); they are set aside at once.
   */
  hugePages?: U64
}

/** Which part of a buffer {@link HostMemory.from} takes, in bytes; default: all from `offset` on. */
export interface BufferPart {
  offset?: U64
  length?: U64
}

/** Bytes that hold still or that another memory holds. */
export type ByteSource = ArrayBufferView | ArrayBuffer | SharedArrayBuffer

/**
 * Memory that can be mapped for DMA.
 *
 * `close()` lets this handle go; what is mapped stays reachable for devices until it is unmapped. A handle that is forgotten
 * is let go when it is collected.
 */
export class HostMemory {
  readonly #native: NativeMemory
  readonly #origin: Origin | undefined
  #buffer: WeakRef<ArrayBuffer | SharedArrayBuffer> | undefined

  private constructor(native: NativeMemory, origin?: Origin) {
    this.#native = native
    this.#origin = origin
  }

  /**
   * Allocates zeroed memory; `size` in bytes is rounded up to whole pages of 4 KiB, or to whole huge pages.
   * @throws {VfioError} EINVAL zero bytes, or huge pages of a size that the system does not have; ENOMEM, also where too few huge
   * pages are in reserve; EMFILE; EOPNOTSUPP memfd or huge pages where the system has none
   */
  static allocate(size: U64, options: AllocateOptions = {}): HostMemory {
    const length = u64(size, 'size')
    const { kind = 'anonymous', name = 'vfio' } = record(options, 'options')
    oneOf(kind, ['anonymous', 'memfd'], 'options.kind')
    text(name, 'options.name')
    const huge = options.hugePages === undefined ? undefined : u64(options.hugePages, 'options.hugePages')
    const { NativeMemory } = addon()
    const allocate = () =>
      kind === 'memfd' ? NativeMemory.memfd(name, length, huge) : NativeMemory.anonymous(length, huge)
    return new HostMemory(
      syscall('HostMemory.allocate', allocate, (code) => (length === 0n ? {} : whyNoHugePages(code, huge))),
    )
  }

  /**
   * Makes JavaScript's own memory mappable: a buffer, a view on one, or a `WebAssembly.Memory`; it is referenced as long as
   * it is mapped.
   *
   * Shared memory works from any thread. A plain `ArrayBuffer` or an unshared `WebAssembly.Memory` works on this JavaScript
   * thread only; one that is transferred away, or shrunk below an access, answers EFAULT.
   * @throws {VfioError} EINVAL the part is empty or not inside the buffer
   */
  static from(source: NativeMemorySource | ArrayBufferView, part: BufferPart = {}): HostMemory {
    record(part, 'part')
    const view = ArrayBuffer.isView(source)
    const buffer = view ? (source.buffer as ArrayBuffer | SharedArrayBuffer) : source
    const size = BigInt(view ? source.byteLength : byteLengthOf(source))
    const offset = u64(part.offset ?? 0, 'part.offset')
    const length = part.length === undefined ? (offset < size ? size - offset : 0n) : u64(part.length, 'part.length')
    if (length === 0n || offset + length > size) {
      throw new VfioError('EINVAL', 'HostMemory.from', { reason: 'the part is empty or not inside the buffer' })
    }
    const start = offset + BigInt(view ? source.byteOffset : 0)
    const native = syscall('HostMemory.from', () => addon().NativeMemory.fromBuffer(buffer, start, length))
    return new HostMemory(native, { source: buffer, start: Number(start) })
  }

  /**
   * Takes the memory that {@link share} made a token for, once, in any worker of this process: the same bytes.
   * @throws {TypeError} not a token
   * @throws {VfioError} EBADF unknown, or taken already
   */
  static adopt(token: bigint): HostMemory {
    const number = u64(token, 'token')
    return new HostMemory(syscall('HostMemory.adopt', () => addon().NativeMemory.adopt(number)))
  }

  /**
   * Wraps native memory, such as another Worker shared or a region mapping gave.
   * @internal
   */
  static fromNative(native: NativeMemory): HostMemory {
    return new HostMemory(native)
  }

  /**
   * The native memory, for address spaces.
   * @internal
   */
  get native(): NativeMemory {
    return this.#native
  }

  /**
   * Makes a token by which one other worker of this process gets the same memory, with {@link adopt}. It is a bigint, to be
   * posted; one that nobody takes holds the memory until the process ends.
   * @throws {VfioError} EBADF closed
   */
  share(): bigint {
    return syscall('HostMemory.share', () => this.#native.share())
  }

  /** Size in bytes. */
  get byteLength(): number {
    return this.#native.length
  }

  /** Where the bytes come from. */
  get kind(): NativeMemoryKind {
    return this.#native.kind
  }

  /** The descriptor behind a memfd, undefined where there is none. It belongs to the memory: do not close it. @throws {VfioError} EBADF */
  get fd(): number | undefined {
    const fd = syscall('HostMemory.fd', () => this.#native.fd())
    return fd < 0 ? undefined : fd
  }

  /** Copies `length` bytes at `offset` into a new array. @throws {VfioError} EFAULT outside or gone; EBADF */
  read(offset: U64, length: number): Uint8Array {
    if (u32(length, 'length') > this.byteLength) throw VfioError.fromStatus(-14, 'HostMemory.read', outside(offset))
    const into = new Uint8Array(length)
    this.#done(this.#native.read(offset, into), 'HostMemory.read', offset)
    return into
  }

  /** Copies `from` to `offset`. @throws {VfioError} EFAULT outside or gone; EBADF */
  write(offset: U64, from: ByteSource): void {
    this.#done(this.#native.write(offset, bytes(from, 'from')), 'HostMemory.write', offset)
  }

  /** Fills `into` (an array or a view) with the bytes at `offset`. @throws {VfioError} EFAULT outside or gone; EBADF */
  copyTo(into: ByteSource, offset: U64 = 0): void {
    this.#done(this.#native.read(offset, bytes(into, 'into')), 'HostMemory.copyTo', offset)
  }

  /**
   * Copies `length` bytes (default: all of the smaller one) from another memory, which may be this one.
   * @throws {VfioError} EFAULT outside or gone; EBADF
   */
  copyFrom(source: HostMemory, part: { offset?: U64; sourceOffset?: U64; length?: U64 } = {}): void {
    if (!(source instanceof HostMemory)) throw invalidArgType('source', 'a HostMemory', source)
    const { offset = 0, sourceOffset = 0, length = Math.min(this.byteLength, source.byteLength) } = record(part, 'part')
    const status = source.#native.copy(sourceOffset, this.#native, offset, length)
    this.#done(status, 'HostMemory.copyFrom', offset)
  }

  /** Sets `length` bytes (default: all behind `offset`) to `value`, an integer of 8 bits. @throws {VfioError} EFAULT; EBADF */
  fill(value: number, offset: U64 = 0, length?: U64): void {
    const at = u64(offset, 'offset')
    const size = BigInt(this.byteLength)
    const rest = at < size ? size - at : 0n
    const count = length === undefined ? rest : u64(length, 'length')
    this.#done(this.#native.fill(at, count, value), 'HostMemory.fill', at)
  }

  /** The 8-bit value at `offset`. @throws {VfioError} EFAULT outside or gone; EBADF */
  readU8(offset: U64): number {
    return this.#done(this.#native.readU8(offset), 'HostMemory.readU8', offset)
  }

  /** The 16-bit value at `offset`. @throws {VfioError} EFAULT outside or gone; EBADF */
  readU16(offset: U64): number {
    return this.#done(this.#native.readU16(offset), 'HostMemory.readU16', offset)
  }

  /** The 32-bit value at `offset`. @throws {VfioError} EFAULT outside or gone; EBADF */
  readU32(offset: U64): number {
    return this.#done(this.#native.readU32(offset), 'HostMemory.readU32', offset)
  }

  /** The 64-bit value at `offset`. @throws {VfioError} EFAULT outside or gone; EBADF */
  readU64(offset: U64): bigint {
    const value = this.#native.readU64(offset)
    if (value < 0n) throw VfioError.fromStatus(Number(value), 'HostMemory.readU64', this.#details(offset))
    return value
  }

  /** Stores an 8-bit value. @throws {VfioError} EFAULT outside or gone; EBADF */
  writeU8(offset: U64, value: number): void {
    this.#done(this.#native.writeU8(offset, value), 'HostMemory.writeU8', offset)
  }

  /** Stores a 16-bit value. @throws {VfioError} EFAULT outside or gone; EBADF */
  writeU16(offset: U64, value: number): void {
    this.#done(this.#native.writeU16(offset, value), 'HostMemory.writeU16', offset)
  }

  /** Stores a 32-bit value. @throws {VfioError} EFAULT outside or gone; EBADF */
  writeU32(offset: U64, value: number): void {
    this.#done(this.#native.writeU32(offset, value), 'HostMemory.writeU32', offset)
  }

  /** Stores a 64-bit value. @throws {VfioError} EFAULT outside or gone; EBADF */
  writeU64(offset: U64, value: U64): void {
    this.#done(this.#native.writeU64(offset, value), 'HostMemory.writeU64', offset)
  }

  /**
   * Gives an array over the bytes themselves: what devices and other processes write shows in it, what is written to it
   * they see, and no copy is made.
   *
   * Of `from`'s memory it is a view on the buffer as it is now. Memory with a descriptor appears in place of a
   * `SharedArrayBuffer` of the engine's, in Electron as well; that the engine lets its pages be replaced is observed, not promised, so
   * have {@link read} and {@link write} to fall back on. Other memory takes an external buffer, which Electron refuses
   * (`capabilities().externalBuffers`). The bytes stay while the array does, whether or not this handle is closed. A copy between
   * such an array and its own memory must not overlap.
   * @throws {VfioError} EOPNOTSUPP this runtime allows no view; EFAULT the buffer was detached or shrunk; EBADF
   */
  view(): Uint8Array {
    if (this.#origin !== undefined) return this.#viewOrigin(this.#origin)
    syscall('HostMemory.view', () => this.#native.fd())
    const made = this.#buffer?.deref()
    const buffer = made ?? bufferOver(this.#native)
    if (made === undefined) this.#buffer = new WeakRef(buffer)
    return new Uint8Array(buffer, 0, this.byteLength)
  }

  /** Lets the handle go (idempotent). */
  close(): void {
    this.#native.close()
  }

  /** Lets the handle go. */
  [Symbol.dispose](): void {
    this.close()
  }

  #viewOrigin({ source, start }: Origin): Uint8Array {
    syscall('HostMemory.view', () => this.#native.fd())
    if (this.#gone) throw new VfioError('EFAULT', 'HostMemory.view', GONE)
    return new Uint8Array(bufferOf(source), start, this.byteLength)
  }

  /** Whether a part, at least, of JavaScript's own memory is there no more. */
  get #gone(): boolean {
    return this.#origin !== undefined && this.#origin.start + this.byteLength > bufferOf(this.#origin.source).byteLength
  }

  #done(status: NativeStatus, operation: string, offset: U64): number {
    if (status < 0) throw VfioError.fromStatus(status, operation, this.#details(offset))
    return status
  }

  #details(offset: U64): VfioErrorDetails {
    return this.#gone ? { ...outside(offset), ...GONE } : outside(offset)
  }
}

/** Where memory of JavaScript's own lies. */
interface Origin {
  source: NativeMemorySource
  start: number
}

const GONE = {
  reason: 'the buffer was transferred away, or has shrunk',
  remedy: 'keep memory for DMA in a SharedArrayBuffer or a WebAssembly.Memory, which nobody can take away',
}

function bufferOf(source: NativeMemorySource): ArrayBuffer | SharedArrayBuffer {
  return source instanceof ArrayBuffer || source instanceof SharedArrayBuffer ? source : source.buffer
}

/** What to do about huge pages that the system did not give. */
function whyNoHugePages(code: string, huge: bigint | undefined): { reason?: string; remedy?: string } {
  if (huge === undefined) return {}
  const pages = `/sys/kernel/mm/hugepages/hugepages-${huge / 1024n}kB`
  if (code === 'ENOMEM')
    return { reason: `too few huge pages of ${huge} bytes are free`, remedy: `reserve more in ${pages}/nr_hugepages` }
  if (code === 'EINVAL')
    return { reason: `there are no pages of ${huge} bytes`, remedy: `see /sys/kernel/mm/hugepages` }
  return {}
}

function outside(offset: U64): { address: bigint } {
  return { address: u64(offset, 'offset') }
}

function byteLengthOf(source: unknown): number {
  if (source instanceof ArrayBuffer || source instanceof SharedArrayBuffer) return source.byteLength
  const buffer = (source as { buffer?: unknown } | null)?.buffer
  if (buffer instanceof ArrayBuffer || buffer instanceof SharedArrayBuffer) return buffer.byteLength
  throw invalidArgType('source', 'an ArrayBuffer, SharedArrayBuffer, view or WebAssembly.Memory', source)
}
