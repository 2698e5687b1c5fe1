/** Native mappings of regions, in the shape that every device gives. */
import type { NativeRegionMapping } from '../native/addon.ts'
import { status } from '../native/syscall.ts'
import type { RegionMapping } from './ops.ts'

/** Makes a mapping of `length` bytes of a native one. */
export function regionMapping(mapping: NativeRegionMapping, length: bigint): RegionMapping {
  return {
    length,
    // Memory that begins in the middle of the mapping's object cannot stand for it.
    memory: mapping.memory,
    memoryOffset: BigInt(mapping.memoryOffset),
    read: (at, width) => {
      const bytes = new Uint8Array(8)
      status(mapping.read(at, bytes.subarray(0, width)), 'read', { address: at })
      return new DataView(bytes.buffer).getBigUint64(0, true)
    },
    write: (at, width, value) => {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, value, true)
      status(mapping.write(at, bytes.subarray(0, width)), 'write', { address: at })
    },
    close: () => mapping.close(),
  }
}
