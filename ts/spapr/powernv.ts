/** PowerNV (IODA2): tables in the kernel's own memory, in up to five levels; windows set in any number of groups. */
import { VfioError } from '../errors.ts'
import { isPowerOfTwo, log2, type SpaprPlatform, type SpaprSettings } from './platform.ts'
import type { TableGroup } from './table-group.ts'
import type { TablePlan, Window, WindowRequest } from './window.ts'

/** Address bits that page and levels may decode together. */
const ADDRESS_BITS = 55
/** Logarithm of the bytes of an entry. */
const ENTRY_SHIFT = 3

/** A machine without hypervisor. */
export class PowerNv implements SpaprPlatform {
  readonly name = 'powernv'
  readonly settings: SpaprSettings
  readonly writeImpliesRead = true

  constructor(settings: SpaprSettings) {
    this.settings = settings
  }

  tableBytes(request: WindowRequest): bigint {
    const { size, levels } = request
    if (levels < 1 || levels > this.settings.levels || !isPowerOfTwo(size)) return 0n
    const { tableShift, levelShift } = this.#shifts(request)
    const level = power(levelShift)
    if (level === 0n) return 0n
    let table = atLeast(power(tableShift), 4096n)
    let bytes = 0n
    for (let i = 0; i < levels; i++) {
      bytes += ((table + level - 1n) / level) * level
      table = atLeast((table / level) * 8n, level)
    }
    // The copy with the user addresses is as large.
    return 2n * bytes
  }

  planTable(_group: TableGroup, slot: number, request: WindowRequest): TablePlan {
    const { pageShift, levels } = request
    const { dma32Start, window64Start, largestBlock, pageSize } = this.settings
    const { tableShift, levelShift } = this.#shifts(request)
    if (((levelShift - ENTRY_SHIFT) * levels + pageShift) >>> 0 >= ADDRESS_BITS) {
      throw refused('EINVAL', `${levels} levels of 2^${levelShift} bytes decode too many bits`)
    }
    if (1n << BigInt(Math.min(levelShift, 64)) > largestBlock) {
      throw refused('ENOMEM', `a level takes 2^${levelShift} bytes in one block`, 'ask for more levels')
    }
    return {
      start: slot === 0 ? dma32Start : window64Start,
      // A table fills at least a page, and all of it can be used.
      entries: atLeast(power(tableShift), pageSize) / 8n,
      levelBits: Array.from({ length: levels }, () => levelShift - ENTRY_SHIFT),
      wide: slot !== 0,
    }
  }

  setWindow(group: TableGroup, window: Window): void {
    group.set(window)
  }

  /**
   * Logarithms of the bytes of the whole table and of one level, which fills at least a page. They are the kernel's 32-bit
   * quantities: windows of less than a page come out as it has them.
   */
  #shifts({ pageShift, size, levels }: WindowRequest): { tableShift: number; levelShift: number } {
    const entries = (log2(size) - pageShift) >>> 0
    const perLevel = Math.floor(((entries + levels - 1) >>> 0) / levels)
    return {
      tableShift: (entries + ENTRY_SHIFT) >>> 0,
      levelShift: Math.max((perLevel + ENTRY_SHIFT) >>> 0, log2(this.settings.pageSize)),
    }
  }
}

/** 2 to the power of a shift count as the processor takes it: seven bits count, and 64 and more shift everything out. */
function power(shift: number): bigint {
  const count = shift & 0x7f
  return count < 64 ? 1n << BigInt(count) : 0n
}

function atLeast(value: bigint, least: bigint): bigint {
  return value > least ? value : least
}

function refused(code: 'EINVAL' | 'ENOMEM', reason: string, remedy?: string): VfioError {
  return new VfioError(code, 'VFIO_IOMMU_SPAPR_TCE_CREATE', remedy === undefined ? { reason } : { reason, remedy })
}
