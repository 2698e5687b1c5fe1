/** Mappings of another Worker's container as callers see them. */
import { u64, type U64 } from '../shape.ts'
import type { NativeDomain, NativeDomainClass, NativeMemory } from './addon.ts'
import type { Binding, BindingDomain } from './binding.ts'
import { MemoryHandle } from './memory.ts'
import { status } from './syscall.ts'

/** The one implementation of {@link NativeDomain}. */
class DomainHandle implements NativeDomain {
  readonly #raw: Binding
  readonly #owner: BindingDomain
  #type1: number
  #mm: number

  constructor(raw: Binding, owner: BindingDomain) {
    this.#raw = raw
    this.#owner = owner
    this.#type1 = owner.type1
    this.#mm = owner.mm
  }

  mapDma(flags: number, vaddr: bigint, iova: U64, size: U64): number {
    return this.#raw.type1MapDma(this.#type1, this.#mm, flags, vaddr, iova, size)
  }

  unmapDma(flags: number, iova: U64, size: U64): bigint {
    return status(this.#raw.type1UnmapDma(this.#type1, flags, iova, size), 'VFIO_IOMMU_UNMAP_DMA')
  }

  mapDmaBatch(flags: number, triples: BigUint64Array, failure?: Int32Array): number {
    return this.#raw.type1MapDmaBatch(this.#type1, this.#mm, flags, triples, failure)
  }

  unmapDmaBatch(flags: number, pairs: BigUint64Array, failure?: Int32Array): number {
    return this.#raw.type1UnmapDmaBatch(this.#type1, flags, pairs, failure)
  }

  mappings(): number {
    return this.#owner.mappings()
  }

  place(memory: NativeMemory): bigint {
    return this.#owner.place(MemoryHandle.handleOf(memory, 'memory'))
  }

  displace(address: bigint, length: bigint): void {
    this.#owner.displace(address, length)
  }

  close(): void {
    this.#type1 = 0
    this.#mm = 0
    this.#owner.close()
  }
}

/** Takes mappings through `raw`. */
export function domainClass(raw: Binding): NativeDomainClass {
  return { adopt: (token) => new DomainHandle(raw, raw.NativeDomain.adopt(u64(token, 'token'))) }
}
