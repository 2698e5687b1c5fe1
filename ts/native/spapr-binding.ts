/** What the `.node` file exports of the sPAPR IOMMU, beside what `binding.ts` declares. */
import type { U64 } from '../shape.ts'
import type { Binding, BindingDma, BindingFaultLog } from './binding.ts'
import type { NativeWindowGeometry } from './spapr-addon.ts'

/** Owner of a window. */
export interface BindingTceTable {
  readonly handle: number
  entry(iova: bigint): bigint | null
  clear(): void
  close(): void
}

/** A process' registered memory. */
export interface BindingRegisteredMemory {
  find(vaddr: bigint, size: bigint): bigint | null
  register(vaddr: bigint, size: bigint): { region?: bigint; partial: number }
  hold(region: bigint): void
  release(region: bigint, keepsOrphans: boolean): boolean
  regions(): number
  pinnedObjects(): number
}

/** An endpoint. */
export interface BindingEndpoint {
  stopped: number
  setWindow(slot: number, table: BindingTceTable): void
  unsetWindow(slot: number): void
  freeze(): void
  freezes(): bigint
  openDevice(name: string): BindingDma
  faults(): BindingFaultLog
}

/** Classes. */
export interface SpaprClasses {
  NativeTceTable: new (mm: number, geometry: NativeWindowGeometry) => BindingTceTable
  NativeRegisteredMemory: new (mm: number) => BindingRegisteredMemory
  NativeEndpoint: new (freezing: boolean, sibling?: BindingEndpoint) => BindingEndpoint
}

/** Raw calls on windows. */
export interface RawSpapr {
  tceMap(table: number, iova: U64, vaddr: U64, pages: U64, access: number): number
  tceUnmap(table: number, iova: U64, pages: U64): number
  tceMapList(table: number, iova: U64, entries: BigUint64Array): number
  tceMapBatch(table: number, triples: BigUint64Array, access: number, failure?: Int32Array): number
  tceUnmapBatch(table: number, pairs: BigUint64Array, failure?: Int32Array): number
}

/** All that the sPAPR wrappers use. */
export interface SpaprBinding extends Binding, SpaprClasses, RawSpapr {}
