/**
 * Memory that mediated devices may still ask for: referenced as long as it is mapped.
 *
 * What hardware reaches is pinned when it is mapped. What a mediated device reaches is looked up in the process when its driver
 * asks, so the memory object must not be collected, and lose its address, before it is unmapped.
 */
import type { HostMemory } from '../memory/host-memory.ts'

/** Mappings begin at multiples of it. */
const PAGE = 4096n

/** Memory by the DMA address that it is mapped at. */
export class HeldMemory {
  readonly #held = new Map<bigint, HostMemory>()

  /** Holds `memory`, which was mapped at `iova`. */
  add(iova: bigint, memory: HostMemory): void {
    this.#held.set(iova, memory)
  }

  /** Lets go what was mapped from an address within the range on; it was unmapped. */
  drop(iova: bigint, length: bigint): void {
    if (length <= BigInt(this.#held.size) * PAGE) {
      for (let at = iova; at - iova < length; at += PAGE) this.#held.delete(at)
      return
    }
    for (const start of this.#held.keys()) if (start >= iova && start - iova < length) this.#held.delete(start)
  }

  /** Lets everything go. */
  clear(): void {
    this.#held.clear()
  }
}
