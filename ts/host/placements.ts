/**
 * Where typed memory lies in a process: the typed API speaks of memory objects, the kernel's rules of addresses.
 *
 * Memory that is used for the first time is mapped somewhere; when its object is collected, the mapping goes too.
 */
import type { HostMemory } from '../memory/host-memory.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'

interface Place {
  readonly address: bigint
  readonly length: bigint
}

/** Memory objects of one process and their addresses. */
export class Placements {
  readonly #mm: NativeAddressSpace
  readonly #places = new WeakMap<HostMemory, Place>()
  readonly #collected: FinalizationRegistry<Place>
  #closed = false

  constructor(mm: NativeAddressSpace) {
    this.#mm = mm
    this.#collected = new FinalizationRegistry((place) => {
      if (!this.#closed) mm.unmap(place.address, place.length)
    })
  }

  /** Address of the first byte of `memory`. @throws {VfioError} ENOMEM, EBADF the memory is closed */
  place(memory: HostMemory): bigint {
    const known = this.#places.get(memory)
    if (known) return known.address
    const length = BigInt(memory.byteLength)
    const page = BigInt(this.#mm.pageSize)
    const address = syscall('mmap', () =>
      this.#mm.map({ memory: memory.native, offset: 0n, length, read: true, write: true }),
    )
    const place = { address, length: (length + page - 1n) & ~(page - 1n) }
    this.#places.set(memory, place)
    this.#collected.register(memory, place)
    return address
  }

  /** The process is gone. */
  close(): void {
    this.#closed = true
  }
}
