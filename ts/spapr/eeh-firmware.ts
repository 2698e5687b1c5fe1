/** What the firmware of a machine can do about PCI errors. */

/** Error handling of a platform. */
export interface EehFirmware {
  /** A refused DMA or an injected error freezes the endpoint; emulated hardware may not do that. */
  readonly freezing: boolean
  /** Functions that errors can be injected into: all, or the accesses of configuration space only. */
  readonly injects: 'all' | 'config'
  /** The slot has a fundamental reset. */
  readonly fundamentalReset: boolean
  /** Freezes that the machine puts up with before it gives an endpoint up; absent: any number. */
  readonly mostFreezes?: number
}

/** Hardware as it is. */
export const REAL_HARDWARE: EehFirmware = { freezing: true, injects: 'all', fundamentalReset: true }

/** A machine in an emulator, which refuses DMA and freezes nothing. */
export const EMULATED_HARDWARE: EehFirmware = { freezing: false, injects: 'config', fundamentalReset: false }

/** Loads and stores of configuration space, address and data. */
const CONFIG_FUNCTIONS: ReadonlySet<number> = new Set([4, 5, 10, 11])

/** Tells whether an error can be injected into a function (`EEH_ERR_FUNC_*`). */
export function injects(firmware: EehFirmware, func: number): boolean {
  return firmware.injects === 'all' || CONFIG_FUNCTIONS.has(func)
}
