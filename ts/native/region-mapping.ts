/** Mapped regions as callers see them. */
import type { U64 } from '../shape.ts'
import type { NativeMemory, NativeRegionMapping } from './addon.ts'
import type { Binding, BindingRegionMapping } from './binding.ts'
import { MemoryHandle } from './memory.ts'

/** The one implementation of {@link NativeRegionMapping}. */
export class RegionMappingHandle implements NativeRegionMapping {
  readonly length: number
  readonly memory: NativeMemory | undefined
  readonly memoryOffset: number
  readonly #raw: Binding
  readonly #owner: BindingRegionMapping
  #handle: number

  constructor(raw: Binding, owner: BindingRegionMapping) {
    this.#raw = raw
    this.#owner = owner
    this.#handle = owner.handle
    this.length = owner.length
    this.memoryOffset = owner.memoryOffset
    const memory = owner.memory()
    this.memory = memory === null ? undefined : new MemoryHandle(raw, memory)
  }

  read(offset: U64, into: Uint8Array): number {
    return this.#raw.regionMappingRead(this.#handle, offset, into)
  }

  write(offset: U64, from: Uint8Array): number {
    return this.#raw.regionMappingWrite(this.#handle, offset, from)
  }

  close(): void {
    this.#handle = 0
    this.memory?.close()
    this.#owner.close()
  }
}
