/** What the addon offers of the sPAPR IOMMU; the manners are those of `addon.ts`. */
import type { U64 } from '../shape.ts'
import type { NativeAddressSpace, NativeDma, NativeFaultLog } from './addon.ts'

/** Describes a DMA window. */
export interface NativeWindowGeometry {
  /** First address, a multiple of the page. */
  start: bigint
  /** Base-two logarithm of the page, 12 to 34. */
  pageShift: number
  /** Number of entries. */
  entries: bigint
  /** Bits that each level of the table decodes, from the top. */
  levelBits: number[]
  /** Entries lead to registered memory, whose user addresses are kept beside them; otherwise each pins its page. */
  registered: boolean
  /** The hardware cannot allow writing alone. */
  writeImpliesRead: boolean
}

/** The entries of one window. Rights are `DMA_READ` and `DMA_WRITE` of `addon.ts`. */
export interface NativeTceTable {
  /**
   * Maps `pages` pages from `vaddr` on. 0, or EINVAL unaligned, outside, or memory that is not registered (or offers smaller
   * pages only); EFAULT memory that is not there or not writable; EPERM pages behind it are too small. Entries before the one
   * that is refused are cleared, whatever they held.
   */
  map(iova: U64, vaddr: U64, pages: U64, access: number): number
  /** Clears entries. 0, or EINVAL unaligned or outside. */
  unmap(iova: U64, pages: U64): number
  /** Sets neighbouring entries from user addresses with the rights in the lowest bits (none: clears). How many were set. */
  mapList(iova: U64, entries: BigUint64Array): number
  /** Maps triples of vaddr, iova, size up to the first refusal, whose negated errno is stored in `failure[0]`. How many succeeded. */
  mapBatch(triples: BigUint64Array, access: number, failure?: Int32Array): number
  /** Unmaps pairs of iova, size; see {@link mapBatch}. */
  unmapBatch(pairs: BigUint64Array, failure?: Int32Array): number
  /** The entry of an address: its rights in the lowest bits; undefined outside the window. */
  entry(iova: U64): bigint | undefined
  /** Clears every entry. */
  clear(): void
  /** Clears it and lets it go (idempotent); endpoints that have it keep it, empty. */
  close(): void
}

/** What a process has registered; every instance for one process is the same. */
export interface NativeRegisteredMemory {
  /** The region of exactly that start and length. */
  find(vaddr: U64, size: U64): bigint | undefined
  /**
   * Pins and charges a range and makes it a region with one holder; where only its head is there, tells how many pages.
   * @throws EINVAL not whole pages or overlaps, ENOMEM, EFAULT
   */
  register(vaddr: U64, size: U64): { region: bigint } | { partial: number }
  /** Adds a holder. @throws ENOENT */
  hold(region: bigint): void
  /** Takes a holder off; false where entries outlive the last one. @throws ENOENT */
  release(region: bigint, keepsOrphans: boolean): boolean
  /** Number of regions. */
  regions(): number
  /** Number of memory objects with pinned pages. */
  pinnedObjects(): number
}

/** The devices of one group, which hardware isolates together. */
export interface NativeEndpoint {
  /** What it is cut off from: {@link STOPPED_IO}, {@link STOPPED_DMA}. */
  stopped: number
  /** Puts a table into slot 0 or 1. @throws EINVAL, EBUSY, EBADF */
  setWindow(slot: number, table: NativeTceTable): void
  /** Empties a slot. */
  unsetWindow(slot: number): void
  /** Cuts it off from registers and memory, as an error does. */
  freeze(): void
  /** Times that an error cut it off. */
  freezes(): bigint
  /** Gives a device that was opened its view of memory. */
  openDevice(name: string): NativeDma
  /** Ends such a view. */
  closeDevice(dma: NativeDma): void
  /** The log of refused DMA. */
  faults(): NativeFaultLog
}

/** Registers give ones, and writes to them are dropped. */
export const STOPPED_IO = 1
/** DMA is dropped. */
export const STOPPED_DMA = 2

/** The classes, beside those of `Addon`. */
export interface SpaprAddon {
  /** Makes a window with no entry for the memory of `mm`. @throws EINVAL, ENOMEM */
  readonly NativeTceTable: new (mm: NativeAddressSpace, geometry: NativeWindowGeometry) => NativeTceTable
  readonly NativeRegisteredMemory: new (mm: NativeAddressSpace) => NativeRegisteredMemory
  /** With `freezing`, a refused DMA cuts the endpoint off. Faults go to the log of `sibling`, or to one of its own. */
  readonly NativeEndpoint: new (freezing: boolean, sibling?: NativeEndpoint) => NativeEndpoint
}
