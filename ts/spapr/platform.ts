/** POWER platforms: what their IOMMU offers, and how it makes tables and windows. */
import type { EehFirmware } from './eeh-firmware.ts'
import type { TableGroup } from './table-group.ts'
import type { TablePlan, Window, WindowRequest } from './window.ts'

/** Geometry and manners of one machine. */
export interface SpaprSettings {
  /** The 32-bit window that a group starts with: first address and size in bytes. */
  readonly dma32Start: bigint
  readonly dma32Size: bigint
  /** Bitmap of page sizes that windows can have. */
  readonly pageSizes: bigint
  /** Windows of a group; 0: none can be made, and version 2 is refused. */
  readonly windows: number
  /** Most levels of a table. */
  readonly levels: number
  /** Where the second window lies. */
  readonly window64Start: bigint
  /** Size of the system's pages in bytes. */
  readonly pageSize: bigint
  /** The largest block of memory that the system can give a level of a table. */
  readonly largestBlock: bigint
  /** Error handling; undefined: the platform has none. */
  readonly eeh: EehFirmware | undefined
  /** The kernel's accounting leaks are there. */
  readonly leaks: boolean
}

/** How a kind of machine makes tables. */
export interface SpaprPlatform {
  readonly name: 'powernv' | 'pseries'
  readonly settings: SpaprSettings
  /** The hardware cannot allow writing alone. */
  readonly writeImpliesRead: boolean
  /** Bytes that a table is charged with; 0: there can be no such table. */
  tableBytes(request: WindowRequest): bigint
  /** Plans a table of `group`, whose charge is made. @throws {VfioError} EINVAL, ENODEV, EPERM, ENOMEM */
  planTable(group: TableGroup, slot: number, request: WindowRequest): TablePlan
  /** Sets a window in a group. @throws {VfioError} EPERM the platform refuses that */
  setWindow(group: TableGroup, window: Window): void
}

/** Base-two logarithm of a positive number, rounded down. */
export function log2(value: bigint): number {
  return value.toString(2).length - 1
}

/** Tells whether a number is a power of two. */
export function isPowerOfTwo(value: bigint): boolean {
  return value > 0n && (value & (value - 1n)) === 0n
}
