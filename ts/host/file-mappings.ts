/** Files mapped into a process, and the addresses that they were given. */
import type { RegionMapping } from '../device/ops.ts'
import { VfioError, warnOfModel } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import type { NativeAddressSpace, NativeMemory } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'

/** The mappings of one process. */
export class FileMappings {
  readonly #mm: NativeAddressSpace
  readonly #addresses = new Map<RegionMapping, bigint>()

  constructor(mm: NativeAddressSpace) {
    this.#mm = mm
  }

  /**
   * Gives a mapping an address. Where a device model sees its accesses there is no memory at it: who is told the address can
   * name it, and finds nothing there.
   * @throws {VfioError} ENOMEM
   */
  add(mapping: RegionMapping, access: { read: boolean; write: boolean }): RegionMapping {
    const { memory, memoryOffset = 0n, length } = mapping
    const address = memory ? this.#place(memory, memoryOffset, length, access) : this.#reserve(length)
    const mapped: RegionMapping = {
      length,
      ...(memory ? { memory, memoryOffset } : {}),
      read: (offset, width) => mapping.read(offset, width),
      write: (offset, width, value) => mapping.write(offset, width, value),
      close: () => {
        if (!this.#addresses.delete(mapped)) return
        this.#mm.unmap(address, length)
        try {
          mapping.close()
        } catch (error) {
          warnOfModel(error) // it is unmapped all the same
        }
      },
    }
    this.#addresses.set(mapped, address)
    return mapped
  }

  /** Address of a mapping. @throws {VfioError} EINVAL it is none of this process */
  addressOf(mapping: RegionMapping): bigint {
    const address = this.#addresses.get(mapping)
    if (address === undefined)
      throw new VfioError('EINVAL', 'addressOf', { reason: 'this process has no such mapping' })
    return address
  }

  /** Unmaps them all. */
  closeAll(): void {
    for (const mapping of [...this.#addresses.keys()]) mapping.close()
  }

  #place(memory: NativeMemory, offset: bigint, length: bigint, access: { read: boolean; write: boolean }): bigint {
    const { read, write } = access
    return syscall('mmap', () => this.#mm.map({ memory, offset, length, read, write }))
  }

  #reserve(length: bigint): bigint {
    const nothing = HostMemory.allocate(length)
    try {
      return this.#place(nothing.native, 0n, length, { read: false, write: false })
    } finally {
      nothing.close()
    }
  }
}
