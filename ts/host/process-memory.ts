/** The memory of a simulated process: what lies at which address, and what may be done with it. */
import type { RegionMapping } from '../device/ops.ts'
import { invalidArgType } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { status, syscall } from '../native/syscall.ts'
import { bytes, flag, record, u32, u64, type U64 } from '../shape.ts'
import { FileMappings } from './file-mappings.ts'
import { MappedAreas } from './mapped-areas.ts'
import { Placements } from './placements.ts'

/** How memory is mapped into a process. */
export interface MapOptions {
  /** Part of the memory; default all of it. */
  offset?: U64
  length?: U64
  /** Wanted address, a multiple of the system's page; default any. */
  hint?: U64
  /** Alignment of the address, a power of two; default a page. */
  align?: U64
  /** Size of the pages behind it where they are huge: a power of two that divides offset and length. */
  pageSize?: U64
  /** Default true. */
  read?: boolean
  /** Default true. */
  write?: boolean
}

/** An address space, and who put what into it. Every method but `close` throws `VfioError` EBADF once it is closed. */
export class ProcessMemory {
  readonly #mm: NativeAddressSpace
  readonly #placements: Placements
  readonly #mappings: FileMappings
  readonly #areas = new MappedAreas()

  constructor(mm: NativeAddressSpace) {
    this.#mm = mm
    this.#placements = new Placements(mm)
    this.#mappings = new FileMappings(mm)
  }

  /** Address of the first byte of `memory`, which is mapped if it lies nowhere yet. @throws {VfioError} ENOMEM, EBADF */
  place(memory: HostMemory): bigint {
    return this.#placements.place(hostMemory(memory))
  }

  /** Maps memory and returns its address. @throws {VfioError} EINVAL, EEXIST the wanted address is taken, ENOMEM */
  map(memory: HostMemory, options: MapOptions): bigint {
    const { native } = hostMemory(memory)
    record(options, 'options')
    const size = BigInt(memory.byteLength)
    const offset = u64(options.offset ?? 0n, 'offset')
    const length = u64(options.length ?? (offset < size ? size - offset : 0n), 'length')
    const read = flag(options.read, 'read', true)
    const write = flag(options.write, 'write', true)
    const { hint, align, pageSize } = options
    const address = syscall('mmap', () =>
      this.#mm.map({
        memory: native,
        offset,
        length,
        read,
        write,
        ...(hint === undefined ? {} : { hint: u64(hint, 'hint') }),
        ...(align === undefined ? {} : { align: u64(align, 'align') }),
        ...(pageSize === undefined ? {} : { pageSize: u64(pageSize, 'pageSize') }),
      }),
    )
    this.#areas.add({ address, memory, offset, length, read, write, ...(pageSize === undefined ? {} : { pageSize }) })
    return address
  }

  /** Maps into a child what was mapped here, at the same addresses. @throws {VfioError} ENOMEM */
  copyInto(child: { map(memory: HostMemory, options: MapOptions): bigint }): void {
    for (const { address: hint, memory, ...area } of this.#areas) child.map(memory, { ...area, hint })
  }

  /** Gives a mapping of a file an address. @throws {VfioError} ENOMEM */
  mapFile(mapping: RegionMapping, access: { read: boolean; write: boolean }): RegionMapping {
    return this.#mappings.add(mapping, access)
  }

  /** Address at which a mapping of a file lies. @throws {VfioError} EINVAL it is none of this process */
  addressOf(mapping: RegionMapping): bigint {
    return this.#mappings.addressOf(mapping)
  }

  /** Unmaps what lies in a range, as munmap does. @throws {VfioError} EINVAL */
  unmap(address: U64, length: U64): void {
    const [at, size] = [u64(address, 'address'), u64(length, 'length')]
    syscall('munmap', () => this.#mm.unmap(at, size))
    this.#areas.cut(at, size)
  }

  /** Changes what may be done with a range. @throws {VfioError} EINVAL, ENOMEM a hole */
  protect(address: U64, length: U64, access: { read: boolean; write: boolean }): void {
    const [at, size] = [u64(address, 'address'), u64(length, 'length')]
    record(access, 'access')
    const [read, write] = [flag(access.read, 'read', false), flag(access.write, 'write', false)]
    syscall('mprotect', () => this.#mm.protect(at, size, read, write))
    this.#areas.protect(at, size, { read, write })
  }

  /** Locks a range into memory, charging its pages. @throws {VfioError} ENOMEM over the limit or a hole, EPERM */
  lock(address: U64, length: U64): void {
    const [at, size] = [u64(address, 'address'), u64(length, 'length')]
    syscall('mlock', () => this.#mm.mlock(at, size))
  }

  /** Unlocks a range. @throws {VfioError} ENOMEM a hole */
  unlock(address: U64, length: U64): void {
    const [at, size] = [u64(address, 'address'), u64(length, 'length')]
    syscall('munlock', () => this.#mm.munlock(at, size))
  }

  /** Reads bytes. @throws {VfioError} EFAULT */
  read(address: U64, length: number): Uint8Array {
    const at = u64(address, 'address')
    const into = new Uint8Array(u32(length, 'length'))
    status(this.#mm.read(at, into), 'read', { address: at })
    return into
  }

  /** Writes bytes. @throws {VfioError} EFAULT */
  write(address: U64, from: ArrayBufferView | ArrayBuffer | SharedArrayBuffer): void {
    const at = u64(address, 'address')
    status(this.#mm.write(at, bytes(from, 'from')), 'write', { address: at })
  }

  /** Unmaps the files. */
  closeFiles(): void {
    this.#mappings.closeAll()
  }

  /** Drops the address space. Pages that the IOMMU holds stay held. */
  close(): void {
    this.#placements.close()
    this.#mm.close()
  }
}

/** Refuses what is no memory. @throws {TypeError} */
export function hostMemory(value: unknown): HostMemory {
  if (!(value instanceof HostMemory)) throw invalidArgType('memory', 'a HostMemory', value)
  return value
}
