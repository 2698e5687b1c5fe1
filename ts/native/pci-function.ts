/** Native PCI functions as callers see them. */
import { invalidArgType, warnOfModel } from '../errors.ts'
import { flag, text, u32, u64, type U64 } from '../shape.ts'
import type {
  NativeDma,
  NativePciBar,
  NativePciDescription,
  NativePciFunction,
  NativePciFunctionClass,
  NativePciIdentity,
  NativePciInterruptState,
  NativePciModel,
} from './addon.ts'
import type {
  Binding,
  BindingAnswer,
  BindingPciDescription,
  BindingPciFunction,
  BindingPciIdentity,
  BindingPciModel,
} from './binding.ts'
import { DmaHandle } from './dma.ts'
import { EventFdHandle } from './event-fd.ts'
import { MemoryHandle } from './memory.ts'
import { status } from './syscall.ts'

/** The one implementation of {@link NativePciFunction}. */
export class PciFunctionHandle implements NativePciFunction {
  readonly name: string
  readonly #raw: Binding
  readonly #owner: BindingPciFunction
  #handle: number
  #dma: DmaHandle | undefined

  constructor(raw: Binding, owner: BindingPciFunction) {
    this.name = owner.name
    this.#raw = raw
    this.#owner = owner
    this.#handle = owner.handle
  }

  /** The handle of `pci` for a raw call. @throws {TypeError} it is not ours */
  static handleOf(pci: unknown, name: string): number {
    if (typeof pci !== 'object' || pci === null || !(#handle in pci)) {
      throw invalidArgType(name, 'a native PCI function', pci)
    }
    return pci.#handle
  }

  configRead(offset: number, width: number): number {
    return status(this.#raw.pciConfigRead(this.#handle, offset, width), 'config read')
  }

  configWrite(offset: number, width: number, value: number): void {
    status(this.#raw.pciConfigWrite(this.#handle, offset, width, value), 'config write')
  }

  barRead(bar: number, offset: U64, into: Uint8Array): number {
    return this.#raw.pciBarRead(this.#handle, bar, offset, into)
  }

  barWrite(bar: number, offset: U64, from: Uint8Array): number {
    return this.#raw.pciBarWrite(this.#handle, bar, offset, from)
  }

  assign(addresses: readonly { bar: number; address: U64 }[], interruptLine: number): void {
    const places = addresses.map(({ bar, address }) => ({ bar: u32(bar, 'bar'), address: u64(address, 'address') }))
    this.#owner.assign(places, u32(interruptLine, 'interruptLine'))
  }

  setBusReset(possible: boolean): void {
    this.#owner.setBusReset(flag(possible, 'possible', false))
  }

  reset(): void {
    this.#owner.reset()
  }

  interrupts(): NativePciInterruptState {
    return this.#owner.interrupts()
  }

  setIntx(level: boolean): void {
    status(this.#raw.pciSetIntx(this.#handle, flag(level, 'level', false) ? 1 : 0), 'intx')
  }

  triggerMsi(vector: number): number {
    return this.#raw.pciTriggerMsi(this.#handle, vector)
  }

  triggerMsix(vector: number): number {
    return this.#raw.pciTriggerMsix(this.#handle, vector)
  }

  dma(): NativeDma | undefined {
    if (this.#raw.pciIsAttached(this.#handle) <= 0) return undefined
    this.#dma ??= new DmaHandle(this.#raw, this.#owner.dma())
    return this.#dma
  }

  close(): void {
    this.#handle = 0
    this.#owner.close()
  }
}

/** Makes PCI functions through `raw`. */
export function pciFunctionClass(raw: Binding): NativePciFunctionClass {
  const { NativePciFunction: Owner } = raw
  return {
    edu(options) {
      const { dmaMask } = options
      const mask = dmaMask === undefined ? undefined : u64(dmaMask, 'options.dmaMask')
      return new PciFunctionHandle(raw, Owner.edu(identityOf(options, 'options'), mask))
    },
    nvme(options, { media, ...settings }) {
      const kept = media === undefined ? {} : { media: MemoryHandle.handleOf(media, 'media') }
      return new PciFunctionHandle(raw, raw.makeNvme(identityOf(options, 'options'), { ...settings, ...kept }))
    },
    testdev: (options) => new PciFunctionHandle(raw, raw.makeTestdev(identityOf(options, 'options'))),
    dmaEngine: (options) => new PciFunctionHandle(raw, raw.makeDmaEngine(identityOf(options, 'options'))),
    ioat: (options) => new PciFunctionHandle(raw, raw.makeIoat(identityOf(options, 'options'))),
    e1000e: (options) => new PciFunctionHandle(raw, raw.makeE1000e(identityOf(options, 'options'))),
    fromModel(model, description) {
      if (typeof model !== 'object' || model === null) throw invalidArgType('model', 'an object', model)
      const identity = identityOf(description, 'description')
      return new PciFunctionHandle(raw, Owner.fromModel(guard(model), identity, partsOf(description)))
    },
    resetBus(functions) {
      Owner.resetBus(functions.map((pci) => PciFunctionHandle.handleOf(pci, 'functions')))
    },
  }
}

/** Wraps a model so that what it throws or rejects is a failed access and a warning, and never takes the program down. */
function guard(model: NativePciModel): BindingPciModel {
  const none = new Uint8Array()
  return {
    read: (bar, offset, data) => attempt(() => model.read?.(bar, offset, data), data),
    write: (bar, offset, data) => attempt(() => model.write?.(bar, offset, data), data),
    // Nobody waits for these: a promise is only watched for its rejection.
    configWritten: (offset, width) => attempt(() => model.configWritten?.(offset, width), none) !== false,
    reset: () => attempt(() => model.reset?.(), none) !== false,
  }
}

function attempt(run: () => unknown, data: Uint8Array): BindingAnswer {
  try {
    const answer = run()
    return isThenable(answer) ? Promise.resolve(answer).then(() => data, warnOfModel) : true
  } catch (error) {
    warnOfModel(error)
    return false
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

type Numbers = 'vendor' | 'device' | 'subsystemVendor' | 'subsystemDevice' | 'revision' | 'classCode'
const NUMBERS: readonly Numbers[] = ['vendor', 'device', 'subsystemVendor', 'subsystemDevice', 'revision', 'classCode']

function identityOf(options: Partial<NativePciIdentity>, name: string): BindingPciIdentity {
  if (typeof options !== 'object' || options === null) throw invalidArgType(name, 'an object', options)
  const identity: BindingPciIdentity = { name: text(options.name, `${name}.name`) }
  for (const key of NUMBERS) {
    const value = options[key]
    if (value !== undefined) identity[key] = u32(value, `${name}.${key}`)
  }
  identity.multifunction = flag(options.multifunction, `${name}.multifunction`, false)
  return identity
}

function barOf({ index, size, kind, prefetchable, memory, windows = [], doorbells = [] }: NativePciBar) {
  return {
    index: u32(index, 'bar.index'),
    size: u64(size, 'bar.size'),
    kind: text(kind, 'bar.kind'),
    prefetchable: flag(prefetchable, 'bar.prefetchable', false),
    ...(memory === undefined ? {} : { memory: MemoryHandle.handleOf(memory, 'bar.memory') }),
    windows: windows.map((window) => ({
      offset: u64(window.offset, 'window.offset'),
      length: u64(window.length, 'window.length'),
      memory: MemoryHandle.handleOf(window.memory, 'window.memory'),
      memoryOffset: u64(window.memoryOffset ?? 0n, 'window.memoryOffset'),
    })),
    doorbells: doorbells.map((bell) => ({
      offset: u64(bell.offset, 'doorbell.offset'),
      width: u32(bell.width, 'doorbell.width'),
      ...(bell.value === undefined ? {} : { value: u64(bell.value, 'doorbell.value') }),
      event: EventFdHandle.handleOf(bell.event, 'doorbell.event'),
    })),
  }
}

function partsOf(description: NativePciDescription): BindingPciDescription {
  const { bars, msix } = description
  if (!Array.isArray(bars)) throw invalidArgType('description.bars', 'an array', bars)
  const parts: BindingPciDescription = {
    bars: (bars as NativePciDescription['bars']).map(barOf),
    interruptPin: u32(description.interruptPin ?? 0, 'description.interruptPin'),
    msi: u32(description.msi ?? 0, 'description.msi'),
    express: flag(description.express, 'description.express', false),
    functionReset: flag(description.functionReset, 'description.functionReset', false),
    powerManagement: flag(description.powerManagement, 'description.powerManagement', false),
  }
  if (msix !== undefined) {
    parts.msix = {
      vectors: u32(msix.vectors, 'msix.vectors'),
      tableBar: u32(msix.tableBar, 'msix.tableBar'),
      tableOffset: u32(msix.tableOffset, 'msix.tableOffset'),
      pbaBar: u32(msix.pbaBar, 'msix.pbaBar'),
      pbaOffset: u32(msix.pbaOffset, 'msix.pbaOffset'),
    }
  }
  return parts
}
