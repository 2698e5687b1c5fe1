/** The built-in DMA test device `edu`, modelled natively. */
import { type U64, u64 } from '../shape.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { PciFunctionDescriptor, PciFunctionOptions, PciHardware } from './hardware.ts'
import { identityOf } from './identity.ts'
import { NativeHardware } from './native-hardware.ts'

/** Settings of an `edu` function. */
export interface EduOptions extends PciFunctionOptions {
  /** Bits of a DMA address that the device can drive; default 28 bits. */
  dmaMask?: U64
}

const DEFAULTS = {
  vendor: 0x1234,
  device: 0x11e8,
  subsystemVendor: 0x1af4,
  subsystemDevice: 0x1100,
  revision: 0x10,
  classCode: 0x00ff00,
}

/**
 * QEMU's educational device: one BAR of registers, a 4 KiB buffer with DMA both ways, INTx and MSI.
 *
 * Registers of BAR 0: 0x00 identification, 0x04 inverts what is written, 0x08 factorial, 0x20 status, 0x24 interrupt
 * status, 0x60 raise, 0x64 acknowledge, 0x80 DMA source, 0x88 destination, 0x90 count, 0x98 command.
 * The device's own buffer is at 0x40000 of its DMA addresses.
 */
export class Edu implements PciFunctionDescriptor {
  readonly #options: EduOptions

  /** @throws {TypeError} an option of the wrong shape */
  constructor(options: EduOptions = {}) {
    identityOf(options, DEFAULTS)
    if (options.dmaMask !== undefined) u64(options.dmaMask, 'dmaMask')
    this.#options = { ...options }
  }

  create(name: string): PciHardware {
    const { dmaMask, multifunction = false } = this.#options
    const identity = {
      name,
      multifunction,
      ...identityOf(this.#options, DEFAULTS),
      ...(dmaMask === undefined ? {} : { dmaMask }),
    }
    return new NativeHardware(syscall('create', () => addon().NativePciFunction.edu(identity)))
  }
}
