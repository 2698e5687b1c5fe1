/** Video memory of a sample display. */
import type { RegionMapping } from '../device/ops.ts'
import { RegionMemory } from '../device/region-memory.ts'
import { VfioError } from '../errors.ts'

/** Video memory that comes into being, zeroed, when it is first reached. */
export class Framebuffer {
  /** Size in bytes. */
  readonly size: number
  #memory: RegionMemory | undefined

  constructor(size: number) {
    this.size = size
  }

  /** Fills `into` with the bytes at `offset`. @throws {VfioError} EFAULT outside, ENOMEM */
  read(offset: number, into: Uint8Array): void {
    this.#bytes().read(offset, into)
  }

  /** Copies `from` to `offset`. @throws {VfioError} EFAULT outside, ENOMEM */
  write(offset: number, from: Uint8Array): void {
    this.#bytes().write(offset, from)
  }

  /** Sets `length` bytes at `offset` to `value`. @throws {VfioError} EFAULT outside, ENOMEM */
  fill(value: number, offset: number, length: number): void {
    this.#bytes().fill(value, offset, length)
  }

  /** Maps it from its start on. @throws {VfioError} EINVAL another part, more than there is, a private mapping; ENOMEM */
  map(offset: bigint, length: bigint, access: { read: boolean; write: boolean; shared: boolean }): RegionMapping {
    if (offset !== 0n || length > BigInt(this.size) || !access.shared) {
      throw new VfioError('EINVAL', 'mmap', {
        address: offset,
        reason: 'video memory is mapped shared, from its start on, and no more than there is',
      })
    }
    return this.#bytes().map(offset, length, access)
  }

  /** Forgets all of it; who has it mapped keeps what was. */
  drop(): void {
    this.#memory?.close()
    this.#memory = undefined
  }

  #bytes(): RegionMemory {
    return (this.#memory ??= new RegionMemory(this.size))
  }
}
