/** Functions that nobody emulates: an identity, BARs without anything behind them, and a place in the topology. */
import { addon } from '../native/load.ts'
import type { NativePciFunction } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import { CONFIG, EXPRESS_TYPE, HEADER_MULTIFUNCTION } from './config-layout.ts'
import { ConfigSpace, type PciBar, type PciIdentity } from './config-space.ts'
import type { PciFunctionDescriptor, PciFunctionOptions, PciHardware } from './hardware.ts'
import { identityOf } from './identity.ts'

/** What an inert function is made of. */
export interface InertFunctionOptions extends PciFunctionOptions {
  bars?: readonly PciBar[]
  /** Interrupt pin: 0 none, 1 INTA … 4 INTD; default 0. */
  interruptPin?: number
  /** Makes it a PCI Express endpoint (`'endpoint'`) or one inside the root complex; default: conventional PCI. */
  express?: 'endpoint' | 'root-complex'
}

const DEFAULTS: PciIdentity = { vendor: 0x1234, device: 0x0001, classCode: 0xff0000 }
const CAPABILITY_EXPRESS = 0x10

/**
 * A function without behaviour: a host bridge, a controller of the machine, a neighbour in a group.
 *
 * It can be bound to any driver. Its BARs read as ones once vfio-pci has it.
 */
export class InertFunction implements PciFunctionDescriptor {
  readonly #options: InertFunctionOptions
  readonly #identity: PciIdentity

  /** @throws {TypeError} an option of the wrong shape */
  constructor(options: InertFunctionOptions = {}) {
    this.#options = { ...options }
    this.#identity = identityOf(options, DEFAULTS)
  }

  create(name: string): PciHardware {
    return new InertHardware(name, this.#identity, this.#options)
  }
}

class InertHardware implements PciHardware {
  readonly #name: string
  readonly #identity: PciIdentity
  readonly #options: InertFunctionOptions
  readonly #config: ConfigSpace
  #native: NativePciFunction | undefined
  #busReset = false
  #closed = false

  constructor(name: string, identity: PciIdentity, options: InertFunctionOptions) {
    this.#name = name
    this.#identity = identity
    this.#options = options
    this.#config = new ConfigSpace(identity, options.multifunction ? HEADER_MULTIFUNCTION : 0)
    for (const bar of options.bars ?? []) this.#config.bar(bar)
    this.#config.set(CONFIG.interruptPin, 1, options.interruptPin ?? 0)
    if (options.express !== undefined) {
      const at = this.#config.capability(CAPABILITY_EXPRESS, 0x40)
      const type = options.express === 'endpoint' ? EXPRESS_TYPE.endpoint : EXPRESS_TYPE.rootComplexEndpoint
      this.#config.set(at + 2, 2, 2 | (type << 4))
    }
  }

  configRead(offset: number, width: number): number {
    return this.#native?.configRead(offset, width) ?? this.#config.configRead(offset, width)
  }

  configWrite(offset: number, width: number, value: number): void {
    this.#config.configWrite(offset, width, value)
    this.#native?.configWrite(offset, width, value)
  }

  native(): NativePciFunction {
    this.#native ??= this.#makeNative()
    return this.#native
  }

  get made(): NativePciFunction | undefined {
    return this.#native
  }

  setBusReset(possible: boolean): void {
    this.#busReset = possible
    this.#native?.setBusReset(possible)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native?.close()
  }

  #makeNative(): NativePciFunction {
    const native = syscall('create', () =>
      addon().NativePciFunction.fromModel(
        {},
        {
          ...this.#identity,
          name: this.#name,
          bars: [...(this.#options.bars ?? [])],
          interruptPin: this.#options.interruptPin ?? 0,
          express: this.#options.express !== undefined,
          multifunction: this.#options.multifunction ?? false,
        },
      ),
    )
    for (let at = CONFIG.bar0 as number; at < CONFIG.bar0 + 24; at += 4)
      native.configWrite(at, 4, this.#config.configRead(at, 4))
    native.configWrite(CONFIG.command, 2, this.#config.configRead(CONFIG.command, 2))
    native.setBusReset(this.#busReset)
    native.configWrite(CONFIG.interruptLine, 1, this.#config.configRead(CONFIG.interruptLine, 1))
    return native
  }
}
