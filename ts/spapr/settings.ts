/** Settings of POWER machines, as users write them, and the machines they stand for. */
import { invalidArgValue, outOfRange } from '../errors.ts'
import { flag, u32, u64, type U64 } from '../shape.ts'
import { EMULATED_HARDWARE, REAL_HARDWARE, type EehFirmware } from './eeh-firmware.ts'
import { isPowerOfTwo, type SpaprPlatform, type SpaprSettings } from './platform.ts'
import { PowerNv } from './powernv.ts'
import { PSeries } from './pseries.ts'

/** Kinds of POWER machines. */
export type SpaprPlatformName = 'powernv' | 'pseries'

/** What a POWER machine's IOMMU offers; sizes and addresses in bytes. */
export interface SpaprOptions {
  /** First address of the 32-bit window; default 0. */
  dma32Start?: U64
  /** Size of the 32-bit window; default 2 GiB on PowerNV, 1 GiB on pseries. */
  dma32Size?: U64
  /** Bitmap of page sizes; default 4 KiB, 64 KiB, 2 MiB and 1 GiB (PowerNV) or 16 MiB (pseries). */
  pageSizes?: U64
  /** Windows of a group; default 2. */
  windows?: number
  /** Most levels of a table; default 5 on PowerNV, 1 on pseries. */
  levels?: number
  /** First address of the second window; default 1 << 59. */
  window64Start?: U64
  /**
   * PCI error handling (EEH). `'real'`: a refused DMA or an injected error freezes the device until it is recovered;
   * `'emulated'`: nothing ever freezes, as in an emulator; `'none'`. Default `'real'` on PowerNV, `'none'` on pseries.
   */
  eeh?: 'real' | 'emulated' | 'none'
  /** Freezes of a group that the machine puts up with; one more, and the group has failed for good. Default any number. */
  mostFreezes?: number
  /**
   * The kernel's accounting leaks are there: the charge of a window whose creation failed, and memory that was given up while
   * entries led to it. Default true.
   */
  accountingLeaks?: boolean
}

const EEH: Readonly<Record<string, EehFirmware | undefined>> = {
  real: REAL_HARDWARE,
  emulated: EMULATED_HARDWARE,
  none: undefined,
}

const DEFAULTS = {
  powernv: { dma32Size: 0x8000_0000n, pageSizes: 0x4021_1000n, levels: 5, eeh: 'real' },
  pseries: { dma32Size: 0x4000_0000n, pageSizes: 0x0121_1000n, levels: 1, eeh: 'none' },
} as const

const MOST_LEVELS = { powernv: 5, pseries: 1 } as const
/** The page allocator of these kernels gives blocks up to that. */
const LARGEST_BLOCK = 16n << 20n

/** Makes a machine of settings. @throws {TypeError} a value of the wrong shape @throws {RangeError} one that makes no sense */
export function spaprPlatform(name: SpaprPlatformName, pageSize: number, options: SpaprOptions): SpaprPlatform {
  const defaults = DEFAULTS[name]
  const eeh = options.eeh ?? defaults.eeh
  if (!Object.hasOwn(EEH, eeh)) throw invalidArgValue('spapr.eeh', `must be 'real', 'emulated' or 'none'`)
  const dma32Size = u64(options.dma32Size ?? defaults.dma32Size, 'spapr.dma32Size')
  if (dma32Size !== 0n && !isPowerOfTwo(dma32Size)) throw outOfRange('spapr.dma32Size', 'a power of two', dma32Size)
  const levels = u32(options.levels ?? defaults.levels, 'spapr.levels')
  if (levels < 1 || levels > MOST_LEVELS[name]) {
    throw outOfRange('spapr.levels', `>= 1 and <= ${MOST_LEVELS[name]}`, levels)
  }
  const dma32Start = u64(options.dma32Start ?? 0n, 'spapr.dma32Start')
  if ((dma32Start & 0xfffn) !== 0n || dma32Start > 0xffff_ffffn) {
    throw outOfRange('spapr.dma32Start', 'a multiple of 4096 below 4 GiB', dma32Start)
  }
  const settings: SpaprSettings = {
    dma32Start,
    dma32Size,
    pageSizes: u64(options.pageSizes ?? defaults.pageSizes, 'spapr.pageSizes'),
    windows: u32(options.windows ?? 2, 'spapr.windows'),
    levels,
    window64Start: u64(options.window64Start ?? 1n << 59n, 'spapr.window64Start'),
    pageSize: BigInt(pageSize),
    largestBlock: LARGEST_BLOCK,
    eeh: errorHandling(eeh, options.mostFreezes),
    leaks: flag(options.accountingLeaks, 'spapr.accountingLeaks', true),
  }
  return name === 'powernv' ? new PowerNv(settings) : new PSeries(settings)
}

function errorHandling(eeh: string, mostFreezes: number | undefined): EehFirmware | undefined {
  const firmware = EEH[eeh]
  if (mostFreezes === undefined || firmware === undefined) return firmware
  return { ...firmware, mostFreezes: u32(mostFreezes, 'spapr.mostFreezes') }
}
