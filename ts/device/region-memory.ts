/** Memory behind a region: the device model reads and writes it, users map it. */
import { VfioError } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import type { U64 } from '../shape.ts'
import type { RegionMapping } from './ops.ts'

/** Zeroed memory that its device may let go of while users still have it mapped. */
export class RegionMemory {
  readonly #memory: HostMemory
  /** The device, and each mapping. */
  #holders = 1
  #closed = false

  /** Allocates `size` bytes, in whole pages. @throws {VfioError} EINVAL zero bytes, ENOMEM */
  constructor(size: U64) {
    this.#memory = HostMemory.allocate(size)
  }

  /** Fills `into` with the bytes at `offset`. @throws {VfioError} EFAULT outside, EBADF closed */
  read(offset: U64, into: Uint8Array): void {
    this.#memory.copyTo(into, offset)
  }

  /** Copies `from` to `offset`. @throws {VfioError} EFAULT outside, EBADF closed */
  write(offset: U64, from: Uint8Array): void {
    this.#memory.write(offset, from)
  }

  /** Sets `length` bytes at `offset` to `value`. @throws {VfioError} EFAULT outside, EBADF closed */
  fill(value: number, offset: U64, length: U64): void {
    this.#memory.fill(value, offset, length)
  }

  /** Maps a part of it. @throws {VfioError} EINVAL outside */
  map(offset: bigint, length: bigint, access: { read: boolean; write: boolean }): RegionMapping {
    if (this.#closed) throw new VfioError('EBADF', 'mmap', { reason: 'the memory of the region is gone' })
    if (offset < 0n || length <= 0n || offset + length > BigInt(this.#memory.byteLength)) {
      throw new VfioError('EINVAL', 'mmap', { address: offset, reason: 'the part is not inside the region' })
    }
    this.#holders++
    let open = true
    const memory = this.#memory
    const place = (operation: 'read' | 'write', at: bigint, width: number): bigint => {
      if (!open || !access[operation] || at < 0n || at + BigInt(width) > length) {
        throw new VfioError('EFAULT', operation, { address: at })
      }
      return offset + at
    }
    return {
      length,
      memory: memory.native,
      memoryOffset: offset,
      read: (at, width) => load(memory, place('read', at, width), width),
      write: (at, width, value) => store(memory, place('write', at, width), width, value),
      close: () => {
        if (open) this.#drop()
        open = false
      },
    }
  }

  /** The device needs it no more (idempotent); mappings stay. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#drop()
  }

  #drop(): void {
    this.#holders--
    if (this.#holders === 0) this.#memory.close()
  }
}

function load(memory: HostMemory, at: bigint, width: 1 | 2 | 4 | 8): bigint {
  switch (width) {
    case 1:
      return BigInt(memory.readU8(at))
    case 2:
      return BigInt(memory.readU16(at))
    case 4:
      return BigInt(memory.readU32(at))
    case 8:
      return memory.readU64(at)
  }
}

function store(memory: HostMemory, at: bigint, width: 1 | 2 | 4 | 8, value: bigint): void {
  switch (width) {
    case 1:
      return memory.writeU8(at, Number(BigInt.asUintN(8, value)))
    case 2:
      return memory.writeU16(at, Number(BigInt.asUintN(16, value)))
    case 4:
      return memory.writeU32(at, Number(BigInt.asUintN(32, value)))
    case 8:
      return memory.writeU64(at, BigInt.asUintN(64, value))
  }
}
