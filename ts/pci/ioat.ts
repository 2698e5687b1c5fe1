/** Intel's I/OAT DMA engine, modelled natively. */
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { PciFunctionDescriptor, PciFunctionOptions, PciHardware } from './hardware.ts'
import { identityOf } from './identity.ts'
import { NativeHardware } from './native-hardware.ts'

const DEFAULTS = {
  vendor: 0x8086,
  device: 0x2021,
  subsystemVendor: 0x8086,
  subsystemDevice: 0,
  revision: 4,
  classCode: 0x088000,
}

/**
 * Intel's I/O Acceleration Technology, version 3.3, as Sky Lake servers have it: one channel that copies and fills memory by a
 * chain of descriptors, with MSI-X. Drivers of the real engine know it.
 *
 * A descriptor has 64 bytes: 0 length (up to 32 KiB), 4 control (bit 0 interrupt, 3 write the status; operation from bit 24:
 * 0 copy, 1 fill), 8 source or pattern, 16 destination, 24 address of the next. Registers of the channel in BAR 0: 0x80 control,
 * 0x84 command, 0x86 count, 0x88 status, 0x90 chain, 0x98 where the status is written, 0xa8 errors.
 */
export class Ioat implements PciFunctionDescriptor {
  readonly #options: PciFunctionOptions

  /** @throws {TypeError} an option of the wrong shape */
  constructor(options: PciFunctionOptions = {}) {
    identityOf(options, DEFAULTS)
    this.#options = { ...options }
  }

  create(name: string): PciHardware {
    const { multifunction = false } = this.#options
    const identity = { name, multifunction, ...identityOf(this.#options, DEFAULTS) }
    return new NativeHardware(syscall('create', () => addon().NativePciFunction.ioat(identity)))
  }
}
