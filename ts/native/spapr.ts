/** Native sPAPR windows, registered memory and endpoints as callers see them. */
import { invalidArgType } from '../errors.ts'
import { flag, text, u32, u64, type U64 } from '../shape.ts'
import { AddressSpaceHandle } from './address-space.ts'
import type { NativeAddressSpace, NativeDma, NativeFaultLog } from './addon.ts'
import { DmaHandle } from './dma.ts'
import { FaultLogHandle } from './fault-log.ts'
import type {
  NativeEndpoint,
  NativeRegisteredMemory,
  NativeTceTable,
  NativeWindowGeometry,
  SpaprAddon,
} from './spapr-addon.ts'
import type { BindingEndpoint, BindingRegisteredMemory, BindingTceTable, SpaprBinding } from './spapr-binding.ts'

/** The one implementation of {@link NativeTceTable}. */
class TceTableHandle implements NativeTceTable {
  readonly #raw: SpaprBinding
  readonly #owner: BindingTceTable
  #handle: number

  constructor(raw: SpaprBinding, mm: NativeAddressSpace, geometry: NativeWindowGeometry) {
    this.#raw = raw
    this.#owner = new raw.NativeTceTable(AddressSpaceHandle.handleOf(mm, 'mm'), {
      start: u64(geometry.start, 'geometry.start'),
      pageShift: u32(geometry.pageShift, 'geometry.pageShift'),
      entries: u64(geometry.entries, 'geometry.entries'),
      levelBits: geometry.levelBits.map((bits) => u32(bits, 'geometry.levelBits')),
      registered: flag(geometry.registered, 'geometry.registered', false),
      writeImpliesRead: flag(geometry.writeImpliesRead, 'geometry.writeImpliesRead', false),
    })
    this.#handle = this.#owner.handle
  }

  /** The owner of `table`. @throws {TypeError} it is not ours */
  static ownerOf(table: unknown, name: string): BindingTceTable {
    if (typeof table !== 'object' || table === null || !(#owner in table)) {
      throw invalidArgType(name, 'a native window', table)
    }
    return table.#owner
  }

  map(iova: U64, vaddr: U64, pages: U64, access: number): number {
    return this.#raw.tceMap(this.#handle, iova, vaddr, pages, access)
  }

  unmap(iova: U64, pages: U64): number {
    return this.#raw.tceUnmap(this.#handle, iova, pages)
  }

  mapList(iova: U64, entries: BigUint64Array): number {
    return this.#raw.tceMapList(this.#handle, iova, entries)
  }

  mapBatch(triples: BigUint64Array, access: number, failure?: Int32Array): number {
    return this.#raw.tceMapBatch(this.#handle, triples, access, failure)
  }

  unmapBatch(pairs: BigUint64Array, failure?: Int32Array): number {
    return this.#raw.tceUnmapBatch(this.#handle, pairs, failure)
  }

  entry(iova: U64): bigint | undefined {
    return this.#owner.entry(u64(iova, 'iova')) ?? undefined
  }

  clear(): void {
    this.#owner.clear()
  }

  close(): void {
    this.#handle = 0
    this.#owner.close()
  }
}

/** The one implementation of {@link NativeRegisteredMemory}. */
class RegisteredMemoryHandle implements NativeRegisteredMemory {
  readonly #owner: BindingRegisteredMemory

  constructor(raw: SpaprBinding, mm: NativeAddressSpace) {
    this.#owner = new raw.NativeRegisteredMemory(AddressSpaceHandle.handleOf(mm, 'mm'))
  }

  find(vaddr: U64, size: U64): bigint | undefined {
    return this.#owner.find(u64(vaddr, 'vaddr'), u64(size, 'size')) ?? undefined
  }

  register(vaddr: U64, size: U64): { region: bigint } | { partial: number } {
    const { region, partial } = this.#owner.register(u64(vaddr, 'vaddr'), u64(size, 'size'))
    return region === undefined ? { partial } : { region }
  }

  hold(region: bigint): void {
    this.#owner.hold(region)
  }

  release(region: bigint, keepsOrphans: boolean): boolean {
    return this.#owner.release(region, keepsOrphans)
  }

  regions(): number {
    return this.#owner.regions()
  }

  pinnedObjects(): number {
    return this.#owner.pinnedObjects()
  }
}

/** The one implementation of {@link NativeEndpoint}. */
class EndpointHandle implements NativeEndpoint {
  readonly #raw: SpaprBinding
  readonly #owner: BindingEndpoint

  constructor(raw: SpaprBinding, freezing: boolean, sibling?: NativeEndpoint) {
    if (sibling !== undefined && !(sibling instanceof EndpointHandle)) {
      throw invalidArgType('sibling', 'a native endpoint', sibling)
    }
    this.#raw = raw
    this.#owner = new raw.NativeEndpoint(
      flag(freezing, 'freezing', true),
      sibling === undefined ? undefined : sibling.#owner,
    )
  }

  get stopped(): number {
    return this.#owner.stopped
  }

  set stopped(stopped: number) {
    this.#owner.stopped = u32(stopped, 'stopped')
  }

  setWindow(slot: number, table: NativeTceTable): void {
    this.#owner.setWindow(u32(slot, 'slot'), TceTableHandle.ownerOf(table, 'table'))
  }

  unsetWindow(slot: number): void {
    this.#owner.unsetWindow(u32(slot, 'slot'))
  }

  freeze(): void {
    this.#owner.freeze()
  }

  freezes(): bigint {
    return this.#owner.freezes()
  }

  openDevice(name: string): NativeDma {
    return new DmaHandle(this.#raw, this.#owner.openDevice(text(name, 'name')))
  }

  closeDevice(dma: NativeDma): void {
    DmaHandle.close(dma, 'dma')
  }

  faults(): NativeFaultLog {
    return new FaultLogHandle(this.#owner.faults())
  }
}

/** The classes of an addon that is loaded. */
export function spaprClasses(raw: SpaprBinding): SpaprAddon {
  return {
    NativeTceTable: class extends TceTableHandle {
      constructor(mm: NativeAddressSpace, geometry: NativeWindowGeometry) {
        super(raw, mm, geometry)
      }
    },
    NativeRegisteredMemory: class extends RegisteredMemoryHandle {
      constructor(mm: NativeAddressSpace) {
        super(raw, mm)
      }
    },
    NativeEndpoint: class extends EndpointHandle {
      constructor(freezing: boolean, sibling?: NativeEndpoint) {
        super(raw, freezing, sibling)
      }
    },
  }
}
