/** Devices of QEMU as far as their configuration space, regions, interrupts and resets go, modelled natively. */
import type { NativePciFunction, NativePciIdentity } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { PciFunctionDescriptor, PciFunctionOptions, PciHardware } from './hardware.ts'
import { identityOf } from './identity.ts'
import { NativeHardware } from './native-hardware.ts'

const TESTDEV = {
  vendor: 0x1b36,
  device: 0x0005,
  subsystemVendor: 0x1af4,
  subsystemDevice: 0x1100,
  revision: 0,
  classCode: 0x00ff00,
}

const E1000E = {
  vendor: 0x8086,
  device: 0x10d3,
  subsystemVendor: 0x8086,
  subsystemDevice: 0,
  revision: 0,
  classCode: 0x020000,
}

/** `pci-testdev`: a memory BAR, an I/O BAR, and a BAR of plain memory. */
export class Testdev implements PciFunctionDescriptor {
  readonly #options: PciFunctionOptions

  /** @throws {TypeError} an option of the wrong shape */
  constructor(options: PciFunctionOptions = {}) {
    identityOf(options, TESTDEV)
    this.#options = { ...options }
  }

  create(name: string): PciHardware {
    return made(name, this.#options, TESTDEV, (identity) => addon().NativePciFunction.testdev(identity))
  }
}

/** Intel's `e1000e` network card (82574L) without a network: what a driver sees before it sends or receives. */
export class E1000e implements PciFunctionDescriptor {
  readonly #options: PciFunctionOptions

  /** @throws {TypeError} an option of the wrong shape */
  constructor(options: PciFunctionOptions = {}) {
    identityOf(options, E1000E)
    this.#options = { ...options }
  }

  create(name: string): PciHardware {
    return made(name, this.#options, E1000E, (identity) => addon().NativePciFunction.e1000e(identity))
  }
}

function made(
  name: string,
  options: PciFunctionOptions,
  defaults: typeof TESTDEV,
  make: (identity: NativePciIdentity) => NativePciFunction,
): PciHardware {
  const { multifunction = false } = options
  return new NativeHardware(syscall('create', () => make({ name, multifunction, ...identityOf(options, defaults) })))
}
