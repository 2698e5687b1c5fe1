/** On whose behalf a call runs: what the kernel calls `current`. */
import type { HostMemory } from '../memory/host-memory.ts'
import type { NativeAddressSpace } from '../native/addon.ts'

/** A process that makes calls: whose addresses pointers are, whose limits are charged, what it may do. */
export interface Task {
  /**
   * Its address space.
   * @internal
   */
  readonly mm: NativeAddressSpace
  /** Tells whether the process has a capability such as `'CAP_SYS_RAWIO'`. */
  capable(capability: string): boolean
  /** Address of the first byte of `memory` in this process; memory that lies nowhere yet is mapped. @throws {VfioError} ENOMEM */
  place(memory: HostMemory): bigint
}
