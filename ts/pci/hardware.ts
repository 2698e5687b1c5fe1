/** What stands in a slot: the hardware side of one function, and the descriptors that make it. */
import type { DmaLoggingOps, MigrationOps } from '../device/ops.ts'
import type { NativePciFunction } from '../native/addon.ts'
import type { ConfigAccess } from './config-layout.ts'

/** A function's hardware: what is there before any driver. */
export interface PciHardware extends ConfigAccess {
  /**
   * The native function that vfio-pci drives; absent: vfio-pci refuses it (a bridge). Made at the first call.
   * @internal
   */
  native?(): NativePciFunction
  /**
   * The native function, if it was made already.
   * @internal
   */
  readonly made?: NativePciFunction | undefined
  /** Migration, where the function migrates. */
  readonly migration?: MigrationOps | undefined
  /** The function's own log of what it writes. */
  readonly dmaLogging?: DmaLoggingOps | undefined
  /** Resets this function alone; absent: it has no reset of its own. @throws {VfioError} ENOTTY */
  reset?(): void
  /** Tells whether the bus can be reset without touching other functions, which is a reset of this one. */
  setBusReset?(possible: boolean): void
  /** The function is gone for good; idempotent. */
  close(): void
}

/** Describes a function; put into a slot with `host.pci.add`. One descriptor makes one function. */
export interface PciFunctionDescriptor {
  /** Makes the hardware. `name` is its address, for messages. */
  create(name: string): PciHardware
}

/** Identity and header of a function, as users write it. */
export interface PciFunctionOptions {
  /** `vendor:device` in hexadecimal, such as `'1102:0002'`. */
  id?: string
  /** Subsystem `vendor:device` in hexadecimal. */
  subsystem?: string
  /** 0 to 255. */
  revision?: number
  /** 24 bits: base class, subclass, programming interface, such as 0x040100. */
  classCode?: number
  /** Says in its header that the slot has more functions. */
  multifunction?: boolean
}
