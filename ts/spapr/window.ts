/** DMA windows of a container: what one is asked to be, and what it is. */
import type { NativeTceTable } from '../native/spapr-addon.ts'

/** What a window is asked to be. */
export interface WindowRequest {
  pageShift: number
  size: bigint
  levels: number
}

/** What a table is to be made of. */
export interface TablePlan {
  start: bigint
  entries: bigint
  /** Bits that each level decodes, from the top. */
  levelBits: number[]
  /** The firmware made a 64-bit window for it. */
  wide: boolean
}

/** A window of a container. */
export interface Window {
  readonly slot: number
  readonly start: bigint
  readonly pageShift: number
  readonly entries: bigint
  readonly table: NativeTceTable
  /** Pages charged for it. */
  readonly charge: bigint
  /** The group that it was made in. */
  readonly owner: { readonly name: string }
  readonly wide: boolean
}

/** Whether an address is in a window. */
export function contains(window: Window, iova: bigint): boolean {
  return iova >= window.start && (iova - window.start) >> BigInt(window.pageShift) < window.entries
}
