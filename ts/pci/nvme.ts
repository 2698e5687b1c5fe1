/** The built-in NVMe controller, modelled natively. */
import type { HostMemory } from '../memory/host-memory.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { text, u32, u64, type U64 } from '../shape.ts'
import type { PciFunctionDescriptor, PciFunctionOptions, PciHardware } from './hardware.ts'
import { identityOf } from './identity.ts'
import { NativeHardware } from './native-hardware.ts'

/** What an NVMe controller is made of. */
export interface NvmeOptions extends PciFunctionOptions {
  /** Memory that keeps the blocks, and keeps them when the controller is gone; default: fresh memory. */
  media?: HostMemory
  /** Bytes of the fresh memory; default 16 MiB. */
  capacity?: U64
  /** Serial number, printable ASCII, up to 20 characters. */
  serial?: string
  /** Model number, printable ASCII, up to 40 characters. */
  model?: string
  /** Bytes of a block: 512 (default) or 4096. */
  blockSize?: number
  /** Queue pairs for I/O: 1 to 64 (default). */
  queuePairs?: number
}

const DEFAULTS = {
  vendor: 0x1b36,
  device: 0x0010,
  subsystemVendor: 0x1af4,
  subsystemDevice: 0x1100,
  revision: 0x02,
  classCode: 0x010802,
}

/**
 * An NVMe controller with one namespace, MSI-X with a vector per queue, and DMA wherever memory is.
 *
 * It presents itself as QEMU's (1b36:0010); Linux's own driver uses it, in a guest too.
 */
export class Nvme implements PciFunctionDescriptor {
  readonly #options: NvmeOptions

  /** @throws {TypeError} an option of the wrong shape */
  constructor(options: NvmeOptions = {}) {
    identityOf(options, DEFAULTS)
    if (options.capacity !== undefined) u64(options.capacity, 'capacity')
    if (options.serial !== undefined) text(options.serial, 'serial')
    if (options.model !== undefined) text(options.model, 'model')
    if (options.blockSize !== undefined) u32(options.blockSize, 'blockSize')
    if (options.queuePairs !== undefined) u32(options.queuePairs, 'queuePairs')
    this.#options = { ...options }
  }

  create(name: string): PciHardware {
    const { media, capacity, serial, model, blockSize, queuePairs, multifunction = false } = this.#options
    const identity = { name, multifunction, ...identityOf(this.#options, DEFAULTS) }
    const settings = {
      ...(media === undefined ? {} : { media: media.native }),
      ...(capacity === undefined ? {} : { capacity: u64(capacity, 'capacity') }),
      ...(serial === undefined ? {} : { serial }),
      ...(model === undefined ? {} : { model }),
      ...(blockSize === undefined ? {} : { blockSize }),
      ...(queuePairs === undefined ? {} : { queuePairs }),
    }
    return new NativeHardware(syscall('create', () => addon().NativePciFunction.nvme(identity, settings)))
  }
}
