/**
 * Device models in TypeScript: a class that answers accesses to the BARs of a PCI function and does its DMA and interrupts.
 *
 * Everything else is native and the same for all models: configuration space, BAR routing, interrupt delivery and masking,
 * resets. A model is plugged into a machine as a function (`host.pci.add`) or made into a mediated device
 * (`probe: (mdev) => new Doorbell().vfioDevice(mdev.uuid)`).
 */
import { invalidArgType, VfioError } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import type { NativeMemory, NativePciBar, NativePciFunction } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { status, syscall } from '../native/syscall.ts'
import { list, record, text, u32, type U64 } from '../shape.ts'
import { Dma } from './dma.ts'
import { EventFd } from './event-fd.ts'
import type { DmaAccess, DmaLoggingOps, MigrationOps, VfioDeviceOps } from './ops.ts'
import { type VfioPciOptions, VfioPciOps } from './vfio-pci-ops.ts'

/** A base address register of a model. */
export interface PciModelBar {
  /** 0 to 5, which is also the region's index; a 64-bit one takes the next too. */
  index: number
  /** Size in bytes: a power of two, at least 16 (memory) or 4 (I/O). */
  size: U64
  /** What it decodes. */
  kind: 'memory32' | 'memory64' | 'io'
  /** Reads have no side effects. */
  prefetchable?: boolean
  /** Memory behind the whole BAR: accesses never reach the model, and users can map it. */
  memory?: HostMemory
  /** Memory behind parts of the BAR, instead; the model answers for the rest. */
  windows?: readonly PciModelWindow[]
  /** Registers whose writes signal an event instead of reaching the model. */
  doorbells?: readonly PciModelDoorbell[]
}

/** Memory behind a part of a BAR. Where it is whole pages of a memfd, another process can map it. */
export interface PciModelWindow {
  /** Where in the BAR. */
  offset: U64
  /** Bytes. */
  length: U64
  memory: HostMemory
  /** Where in the memory; default 0. */
  memoryOffset?: U64
}

/** A register that rings: nothing of the program runs in the access, and other processes may signal the event themselves. */
export interface PciModelDoorbell {
  /** Where in the BAR. */
  offset: U64
  /** Bytes of the write. */
  width: 1 | 2 | 4 | 8
  /** The value that rings; absent: every value. */
  value?: U64
  /** What is signalled: `for await (const count of event)`. Memory behind the register keeps the value as well. */
  event: EventFd
}

/** What a model's function looks like from outside. */
export interface PciModelDescription {
  /** Vendor id, 16 bits. */
  vendor: number
  /** Device id, 16 bits. */
  device: number
  /** Subsystem vendor id; default 0. */
  subsystemVendor?: number
  /** Subsystem id; default 0. */
  subsystemDevice?: number
  /** Revision id; default 0. */
  revision?: number
  /** Base class, subclass, programming interface, such as 0x00ff00; default 0. */
  classCode?: number
  /** The header says that the slot has more functions. */
  multifunction?: boolean
  /** Base address registers. */
  bars?: readonly PciModelBar[]
  /** Interrupt pin: 0 none, 1 INTA … 4 INTD; default 0. */
  interruptPin?: number
  /** MSI vectors, a power of two up to 32; default 0: no MSI capability. */
  msi?: number
  /** MSI-X vectors, and where their table and pending bits lie; default: no MSI-X capability. */
  msix?: { vectors: number; tableBar: number; tableOffset: number; pbaBar: number; pbaOffset: number }
  /** PCI Express capability. */
  express?: boolean
  /** Function level reset. */
  functionReset?: boolean
  /** Power management capability, which brings a reset. */
  powerManagement?: boolean
}

/** The INTx line of a model. */
export interface IntxLine {
  /** Drives the line: an interrupt as long as `level` is true. */
  set(level: boolean): void
  /** The line is up: an interrupt. */
  raise(): void
  /** The line is down. */
  lower(): void
}

/** Message interrupts of a model. */
export interface MessageInterrupts {
  /** Sends the message of a vector; masked or disabled ones are dropped or kept pending as hardware does. @throws {VfioError} EINVAL no such vector */
  trigger(vector: number): void
}

/** Interrupts of a model. */
export interface ModelInterrupts {
  readonly intx: IntxLine
  readonly msi: MessageInterrupts
  readonly msix: MessageInterrupts
}

/**
 * A PCI device model. Extend it, pass a description to the constructor, and override what the device answers.
 *
 * The callbacks run inside the access; where one throws, the access fails with EIO and the process is warned
 * (`DeviceModelWarning`).
 *
 * They may give promises. `configWritten` and `reset` are over when they return; nobody waits for more. `read` and `write` may answer
 * later:
 * - `region.readAsync`, `region.writeAsync` and a client over vfio-user wait for it, while the event loop goes on. `region.read` and
 *   mapped BARs do not wait: reads throw EAGAIN, writes count as done at once.
 * - Accesses reach the model in the order in which they came. One may come while another is not answered yet, from the model itself too.
 * - A promise that is rejected fails the access with EIO and is a warning. A reset of the function, and closing the device, let go of
 *   accesses that are not answered yet: they fail with EIO, and what becomes of their promises matters to nobody.
 */
export class PciModel {
  /** Interrupts towards whoever drives the device. */
  readonly irq: ModelInterrupts
  /** Migration, where the device migrates: a `MigrationMachine`, which the model's `reset` resets as well. */
  readonly migration?: MigrationOps
  /** The device's own log of the pages that it writes. */
  readonly dmaLogging?: DmaLoggingOps
  readonly #description: PciModelDescription
  #function: NativePciFunction | undefined
  #dma: Dma | undefined

  /** @throws {TypeError} ERR_INVALID_ARG_TYPE no description */
  constructor(description: PciModelDescription) {
    record(description, 'description')
    u32(description.vendor, 'description.vendor')
    u32(description.device, 'description.device')
    for (const bar of list(description.bars ?? [], 'description.bars')) record(bar, 'description.bars[]')
    this.#description = { ...description }
    const intx = (level: boolean) => this.#made().setIntx(level)
    this.irq = {
      intx: { set: intx, raise: () => intx(true), lower: () => intx(false) },
      msi: { trigger: (vector) => void status(this.#made().triggerMsi(u32(vector, 'vector')), 'trigger') },
      msix: { trigger: (vector) => void status(this.#made().triggerMsix(u32(vector, 'vector')), 'trigger') },
    }
  }

  /** Memory as the device reaches it, through whatever IOMMU it sits behind. @throws {VfioError} ENXIO nobody has the device open */
  get dma(): DmaAccess {
    const native = this.#made().dma()
    if (native === undefined)
      throw new VfioError('ENXIO', 'dma', { reason: 'nobody has the device open, so it reaches no memory' })
    if (this.#dma?.native !== native) this.#dma = new Dma(native)
    return this.#dma
  }

  /**
   * Answers a read of `data.byteLength` (1, 2, 4 or 8) bytes by setting them, now or by the time that a promise is kept; what is left
   * alone reads as zero.
   */
  read(_region: number, _offset: bigint, _data: DataView): void | PromiseLike<void> {}

  /** Takes a write of 1, 2, 4 or 8 bytes; a promise tells when the device is done with it. */
  write(_region: number, _offset: bigint, _data: DataView): void | PromiseLike<void> {}

  /** Configuration space was written, after what hardware does by itself. */
  configWritten(_offset: number, _width: number): void | Promise<void> {}

  /** The function was reset. */
  reset(): void | Promise<void> {}

  /**
   * Makes the function; a model is one function, once.
   * @throws {VfioError} EBUSY it was made already, EINVAL a senseless description
   * @internal
   */
  createFunction(name: string): NativePciFunction {
    if (this.#function)
      throw new VfioError('EBUSY', 'create', { reason: 'this model is in use', remedy: 'make another one' })
    const view = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength)
    const made = syscall('create', () =>
      addon().NativePciFunction.fromModel(
        {
          read: (bar, offset, data) => this.read(bar, offset, view(data)),
          write: (bar, offset, data) => this.write(bar, offset, view(data)),
          configWritten: (offset, width) => this.configWritten(offset, width),
          reset: () => this.reset(),
        },
        { ...this.#description, name: text(name, 'name'), bars: (this.#description.bars ?? []).map(nativeBar) },
      ),
    )
    this.#function = made
    return made
  }

  /**
   * Makes the function and vfio-pci over it, as a mediated device needs it. `name` is the name for messages.
   * @throws {VfioError} EBUSY it was made already, EINVAL a senseless description
   */
  vfioDevice(name: string): VfioDeviceOps {
    const made = this.createFunction(name)
    // No firmware comes by here: the BARs get addresses that nobody else could want.
    syscall('create', () => made.assign(addressesOf(this.#description.bars ?? []), 0))
    return new ModelDevice(made, { migration: this.migration, dmaLogging: this.dmaLogging })
  }

  #made(): NativePciFunction {
    if (this.#function) return this.#function
    throw new VfioError('ENXIO', 'model', { reason: 'the model was not plugged in yet' })
  }
}

/** Places BARs one behind the other, each at a multiple of its size. */
function addressesOf(bars: readonly PciModelBar[]): { bar: number; address: bigint }[] {
  const next = { io: 0x1000n, memory32: 0x8000_0000n, memory64: 0x10_0000_0000n }
  return bars.map(({ index, kind, size }) => {
    const bytes = BigInt(size)
    const address = ((next[kind] + bytes - 1n) / bytes) * bytes
    next[kind] = address + bytes
    return { bar: index, address }
  })
}

function nativeBar({ memory, windows = [], doorbells = [], ...bar }: PciModelBar): NativePciBar {
  return {
    ...bar,
    ...(memory === undefined ? {} : { memory: nativeMemory(memory, 'bars.memory') }),
    windows: list(windows, 'bars.windows').map((window) => ({
      ...record(window, 'bars.windows[]'),
      memory: nativeMemory(window.memory, 'bars.windows[].memory'),
    })),
    doorbells: list(doorbells, 'bars.doorbells').map((bell) => {
      const { event } = record(bell, 'bars.doorbells[]')
      if (!(event instanceof EventFd)) throw invalidArgType('bars.doorbells[].event', 'an EventFd', event)
      return { ...bell, event: event.native }
    }),
  }
}

function nativeMemory(memory: HostMemory, name: string): NativeMemory {
  if (!(memory instanceof HostMemory)) throw invalidArgType(name, 'a HostMemory', memory)
  return memory.native
}

/** vfio-pci over a function that it owns; it is matched by its plain name. */
class ModelDevice extends VfioPciOps {
  readonly #owned: NativePciFunction

  constructor(owned: NativePciFunction, options: VfioPciOptions) {
    super(owned, options)
    this.#owned = owned
  }

  override match(name: string): boolean {
    return name === this.#owned.name
  }

  override release(): void {
    super.release()
    this.#owned.close()
  }
}
