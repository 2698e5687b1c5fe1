/**
 * Our own IOMMU: what it tells of itself (`IOMMU_GET_HW_INFO`), and the structures that it takes from user space.
 *
 * It nests: on top of a page table that maps a guest's memory stands one that the guest keeps in that memory itself. Entries are
 * 64 bits, 512 to a table of 4 KiB, three to five levels:
 *
 * | bits            | meaning                                                                                    |
 * | --------------- | ------------------------------------------------------------------------------------------ |
 * | 0, 1            | reads, writes are allowed; with neither the entry leads nowhere. Every level has its say   |
 * | 5, 6            | accessed, dirty: set by the walk, where that was asked for                                 |
 * | 7               | in the second and third level from below: a page of 2 MiB, of 1 GiB                        |
 * | 12–51           | guest physical address of the page, or of the next table                                   |
 * | 52–62           | the guest's own                                                                            |
 * | 2–4, 8–11, 63   | must be 0                                                                                  |
 *
 * Translations are remembered until they are invalidated, right or wrong.
 */

/** Its type, wherever iommufd asks for one: hardware, data of a nested page table, invalidations. No kernel has it. */
export const SOFTWARE_IOMMU_TYPE = 0x7666_696f

/** Size of what it tells: flags (1: it nests, 2: accessed and dirty bits), reserved, page sizes of a guest's table. */
const INFO_SIZE = 16
const NESTS = 1
const NOTES = 2
const GUEST_PGSIZES = 0x4020_1000n

/** Size of the data of a nested page table: root (8 bytes), levels, flags (1: accessed and dirty bits). */
export const NESTED_DATA_SIZE = 16
/** Size of an invalidation: address (8 bytes), pages of 4 KiB (8 bytes; 2^64-1: all), flags (0), error (set to 0). */
export const INVALIDATION_SIZE = 24

/** A page table in a guest's memory. */
export interface NestedTableFormat {
  /** Guest physical address of its topmost page. */
  root: bigint
  /** 3 to 5. */
  levels: number
  /** Has the walk note in the entries what was read and written. */
  accessedDirty: boolean
}

/** What it tells of itself. */
export function softwareInfo(): Uint8Array {
  const data = new Uint8Array(INFO_SIZE)
  const view = new DataView(data.buffer)
  view.setUint32(0, NESTS | NOTES, true)
  view.setBigUint64(8, GUEST_PGSIZES, true)
  return data
}

/** Reads the data of a nested page table; nothing where it has unknown flags. */
export function parseNestedData(bytes: Uint8Array): NestedTableFormat | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const flags = view.getUint32(12, true)
  if ((flags & ~1) !== 0) return undefined
  return { root: view.getBigUint64(0, true), levels: view.getUint32(8, true), accessedDirty: flags === 1 }
}

/** Reads an invalidation; nothing where it has unknown flags. */
export function parseInvalidation(bytes: Uint8Array): { iova: bigint; pages: bigint } | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  if (view.getUint32(16, true) !== 0) return undefined
  return { iova: view.getBigUint64(0, true), pages: view.getBigUint64(8, true) }
}
