/** A mapped part of a region. */
import { outOfRange, VfioError } from '../errors.ts'
import type { NativeMemory } from '../native/addon.ts'
import { u64, type U64 } from '../shape.ts'
import type { RegionMapping } from './ops.ts'

/** Width of an access in bytes. */
export type Width = 1 | 2 | 4 | 8

const WIDTHS: ReadonlySet<number> = new Set([1, 2, 4, 8])

/** A part of a region that is accessed like memory; values are little endian. */
export class RegionMap implements RegionMapping {
  readonly #mapping: RegionMapping
  #closed = false

  constructor(mapping: RegionMapping) {
    this.#mapping = mapping
  }

  /** Size in bytes. */
  get length(): bigint {
    return this.#mapping.length
  }

  /**
   * The memory itself, where no device model sees the accesses.
   * @internal
   */
  get memory(): NativeMemory | undefined {
    return this.#mapping.memory
  }

  /** Reads `width` bytes. @throws {VfioError} EFAULT outside the mapping, EBADF closed */
  read(offset: U64, width: Width): bigint {
    return this.#inside(offset, width, 'read').read(BigInt(offset), width)
  }

  /** Writes `width` bytes. @throws {VfioError} EFAULT outside the mapping, EBADF closed */
  write(offset: U64, width: Width, value: U64): void {
    const bits = u64(value, 'value')
    this.#inside(offset, width, 'write').write(BigInt(offset), width, bits)
  }

  /** Reads one byte. @throws {VfioError} as {@link read} */
  readU8(offset: U64): number {
    return Number(this.read(offset, 1))
  }

  /** Reads two bytes. @throws {VfioError} as {@link read} */
  readU16(offset: U64): number {
    return Number(this.read(offset, 2))
  }

  /** Reads four bytes. @throws {VfioError} as {@link read} */
  readU32(offset: U64): number {
    return Number(this.read(offset, 4))
  }

  /** Reads eight bytes. @throws {VfioError} as {@link read} */
  readU64(offset: U64): bigint {
    return this.read(offset, 8)
  }

  /** Writes one byte. @throws {VfioError} as {@link write} */
  writeU8(offset: U64, value: number): void {
    this.write(offset, 1, value)
  }

  /** Writes two bytes. @throws {VfioError} as {@link write} */
  writeU16(offset: U64, value: number): void {
    this.write(offset, 2, value)
  }

  /** Writes four bytes. @throws {VfioError} as {@link write} */
  writeU32(offset: U64, value: number): void {
    this.write(offset, 4, value)
  }

  /** Writes eight bytes. @throws {VfioError} as {@link write} */
  writeU64(offset: U64, value: U64): void {
    this.write(offset, 8, value)
  }

  /** Unmaps (idempotent). */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#mapping.close()
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #inside(offset: U64, width: Width, operation: string): RegionMapping {
    const at = u64(offset, 'offset')
    if (!WIDTHS.has(width)) throw outOfRange('width', '1, 2, 4 or 8', width)
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the region is no longer mapped' })
    if (at + BigInt(width) > this.#mapping.length) throw new VfioError('EFAULT', operation, { address: at })
    return this.#mapping
  }
}
