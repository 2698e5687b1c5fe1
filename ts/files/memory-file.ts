/** A memfd of a simulated process: memory as a file. */
import type { RegionMapping } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { HostMemory } from '../memory/host-memory.ts'
import { status } from '../native/syscall.ts'
import type { Caller, MmapAccess, OpenFile } from './open-file.ts'

/** Memory behind a descriptor. The file does not own the memory: closing one leaves the other. */
export class MemoryFile implements OpenFile {
  readonly kind = 'memfd'
  /** The memory itself, for requests that map files. */
  readonly memory: HostMemory
  #position = 0n

  constructor(memory: HostMemory) {
    this.memory = memory
  }

  read(_caller: Caller, into: Uint8Array, position: bigint | undefined): number {
    return this.#access('read', position, into.byteLength, (at, length) =>
      this.memory.native.read(at, into.subarray(0, length)),
    )
  }

  write(_caller: Caller, from: Uint8Array, position: bigint | undefined): number {
    return this.#access('write', position, from.byteLength, (at, length) =>
      this.memory.native.write(at, from.subarray(0, length)),
    )
  }

  mmap(_caller: Caller, offset: bigint, length: bigint, access: MmapAccess): RegionMapping {
    const end = BigInt(this.memory.byteLength)
    if (length === 0n || offset < 0n || (offset & 0xfffn) !== 0n)
      throw new VfioError('EINVAL', 'mmap', { address: offset })
    if (offset + length > end) throw new VfioError('ENXIO', 'mmap', { address: offset, reason: 'the file ends before' })
    return memoryMapping(this.memory, offset, length, access)
  }

  #access(
    operation: string,
    position: bigint | undefined,
    length: number,
    run: (at: bigint, length: number) => number,
  ): number {
    const at = position ?? this.#position
    if (at < 0n) throw new VfioError('EINVAL', operation, { address: at })
    const left = BigInt(this.memory.byteLength) - at
    const count = left <= 0n ? 0 : Math.min(length, Number(left))
    if (count === 0 && operation === 'write' && length > 0) throw new VfioError('EFBIG', operation, { address: at })
    if (count > 0) status(run(at, count), operation, { address: at })
    if (position === undefined) this.#position = at + BigInt(count)
    return count
  }
}

function memoryMapping(
  memory: HostMemory,
  start: bigint,
  length: bigint,
  access: { read: boolean; write: boolean },
): RegionMapping {
  const { native } = memory
  return {
    length,
    memory: native,
    memoryOffset: start,
    read(offset, width) {
      if (!access.read || offset + BigInt(width) > length) throw new VfioError('EFAULT', 'read', { address: offset })
      const bytes = new Uint8Array(8)
      status(native.read(start + offset, bytes.subarray(0, width)), 'read', { address: offset })
      return new DataView(bytes.buffer).getBigUint64(0, true)
    },
    write(offset, width, value) {
      if (!access.write || offset + BigInt(width) > length) throw new VfioError('EFAULT', 'write', { address: offset })
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, value, true)
      status(native.write(start + offset, bytes.subarray(0, width)), 'write', { address: offset })
    },
    close() {},
  }
}
