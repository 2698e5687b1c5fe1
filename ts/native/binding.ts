/**
 * What the `.node` file itself exports: classes that own things, and raw calls that know them by their handle.
 *
 * Only the wrappers beside this file use it; everyone else uses {@link Addon}. Raw calls take handles (0 is "closed"), answer
 * with a number or a bigint that is a negated errno where negative, and are declared by hand: the binding generates
 * no types for them.
 */
import type { NativeKvmClass } from './addon-kvm.ts'
import type { U64 } from '../shape.ts'
import type {
  NativeDeviceInfo,
  NativeExternalBuffers,
  NativeFault,
  NativeGeometry,
  NativeIrqInfo,
  NativeMemoryKind,
  NativeNvmeSettings,
  NativePciInterruptState,
  NativeRegionInfo,
  NativeServeSettings,
  NativeServedEvent,
  NativeServedRequest,
  NativeType1Info,
} from './addon.ts'

/** Owner of memory. */
export interface BindingMemory {
  readonly handle: number
  readonly length: number
  readonly kind: NativeMemoryKind
  fd(): number
  sameObject(other: BindingMemory): boolean
  externalBuffer(): ArrayBuffer | null | undefined
  mapOver(view: Uint8Array): void
  share(): bigint
  close(): void
}

/** Where memory with huge pages goes. */
export interface BindingHugeMapping {
  hint?: bigint
  align: bigint
  memory: number
  offset: bigint
  length: bigint
  prot: number
  pageSize: bigint
}

/** Owner of an address space. */
export interface BindingAddressSpace {
  readonly handle: number
  mapHuge(request: BindingHugeMapping): bigint
  charge(pages: bigint): boolean
  uncharge(pages: bigint): void
  map(hint: bigint | undefined, align: bigint, memory: number, offset: bigint, length: bigint, prot: number): bigint
  unmap(address: bigint, length: bigint): void
  protect(address: bigint, length: bigint, prot: number): void
  mlock(address: bigint, length: bigint): void
  munlock(address: bigint, length: bigint): void
  setLimits(memlock: bigint | undefined, capIpcLock: boolean | undefined): void
  joinUser(other: BindingAddressSpace): void
  lockedVm(): bigint
  pinnedVm(): bigint
  close(): void
}

/** Settings of an NVMe controller; `media` is a handle. */
export type BindingNvmeSettings = Omit<NativeNvmeSettings, 'media'> & { media?: number }

/** Owner of a vfio-user server; null stands for nothing. */
export interface BindingServer {
  nextRequest(): NativeServedRequest | null
  nextEvent(): NativeServedEvent | null
  takeDma(token: number, name: string): BindingDma
  takeEvent(token: number, entry: number): BindingEventFd
  answerOpen(token: number, layout: BindingServedLayout): void
  answer(token: number, status: number, numbers?: bigint[], data?: Uint8Array): void
  stop(): void
}

/** What of a device needs no JavaScript; memory and events by their handles. */
export interface BindingServedLayout {
  hearsUnmaps: boolean
  memory: { region: number; offset: bigint; length: bigint; memory: number; memoryOffset: bigint }[]
  doorbells: { region: number; offset: bigint; width: number; value?: bigint; event: number }[]
}

/** Owner of a connection to a vfio-user server; null stands for nothing. */
export interface BindingRemoteDevice {
  readonly isOpen: boolean
  watchEnd(ended: () => void): void
  endReason(): string | null
  getInfo(): NativeDeviceInfo
  getRegionInfo(index: number): NativeRegionInfo
  getIrqInfo(index: number): NativeIrqInfo
  mmap(region: number, offset: bigint, length: bigint): BindingRegionMapping
  setIrqs(request: BindingIrqRequest): void
  submitIrqs(request: BindingIrqRequest): Promise<void>
  reset(): void
  submitReset(): Promise<void>
  read(region: number, offset: bigint, length: number): Uint8Array
  submitRead(region: number, offset: bigint, length: number): Promise<Uint8Array>
  write(region: number, offset: bigint, from: Uint8Array): void
  submitWrite(region: number, offset: bigint, from: Uint8Array): Promise<void>
  dmaMap(loan: BindingLoan): void
  submitDmaMap(loan: BindingLoan): Promise<void>
  dmaUnmap(iova: bigint, length: bigint): void
  submitDmaUnmap(iova: bigint, length: bigint): Promise<void>
  migrationFlags(): bigint | null
  logsDma(): boolean
  doorbells(region: number): { offset: bigint; width: number; value: bigint | null }[]
  doorbellEvent(region: number, at: number): BindingEventFd
  feature(flags: number, data: Uint8Array, room: number): Uint8Array
  migrationRead(size: number): Uint8Array
  migrationWrite(data: Uint8Array): void
  close(): void
}

/** A part of memory to lend; `memory` is its handle. */
export interface BindingLoan {
  iova: bigint
  memory: number
  offset: bigint
  length: bigint
  access: number
  byMessage: boolean
}

/** Owner of an event counter. */
export interface BindingEventFd {
  readonly handle: number
  fd(): number
  watch(callback: (count: bigint) => void): void
  unwatch(): void
  close(): void
}

/** Owner of a type1 IOMMU. */
export interface BindingType1 {
  readonly handle: number
  attachHw(group: number, geometry: NativeGeometry): void
  attachEmulated(group: number): void
  detach(group: number): void
  dirtyStart(): void
  dirtyStop(): void
  info(): NativeType1Info
  checkExtension(extension: number): number
  openDevice(name: string, emulated: boolean, onUnmap?: (iova: bigint, length: bigint) => void): BindingDma
  faults(): BindingFaultLog
  mappings(): number
  close(): void
}

/** Owner of a device's view of memory. */
export interface BindingDma {
  readonly handle: number
  readonly name: string
  withPasid(pasid: number): BindingDma
  submitRead(iova: bigint, length: number): Promise<Uint8Array>
  submitWrite(iova: bigint, from: Uint8Array): Promise<void>
  share(): bigint
  close(): void
}

/** The mappings of a container, whose owner is another thread: handles of its IOMMU and of its process. */
export interface BindingDomain {
  readonly type1: number
  readonly mm: number
  mappings(): number
  place(memory: number): bigint
  displace(address: bigint, length: bigint): void
  close(): void
}

/** Owner of a share in a fault log. */
export interface BindingFaultLog {
  total(): bigint
  /** Those after `sequence`. */
  records(sequence: number): NativeFault[]
  clear(): void
  setCapacity(records: number): void
  /** Runs once for all faults before it runs. */
  setListener(listener: (() => void) | undefined): void
}

/** The bytes of an access that is done, or undefined where it failed; never rejected. */
export type BindingAnswer = boolean | Promise<Uint8Array | undefined>

/** A model's functions; each answers `false` where the access failed, and none throws. */
export interface BindingPciModel {
  read(bar: number, offset: bigint, data: Uint8Array): BindingAnswer
  write(bar: number, offset: bigint, data: Uint8Array): BindingAnswer
  configWritten?: (offset: number, width: number) => boolean
  reset?: () => boolean
}

/** Identity of a PCI function. */
export interface BindingPciIdentity {
  name: string
  vendor?: number
  device?: number
  subsystemVendor?: number
  subsystemDevice?: number
  revision?: number
  classCode?: number
  multifunction?: boolean
}

/** What a function has beside its identity. */
export interface BindingPciDescription {
  bars: {
    index: number
    size: bigint
    kind: string
    prefetchable: boolean
    memory?: number
    windows: { offset: bigint; length: bigint; memory: number; memoryOffset: bigint }[]
    doorbells: { offset: bigint; width: number; value?: bigint; event: number }[]
  }[]
  interruptPin?: number
  msi?: number
  msix?: { vectors: number; tableBar: number; tableOffset: number; pbaBar: number; pbaOffset: number }
  express?: boolean
  functionReset?: boolean
  powerManagement?: boolean
}

/** Owner of a simulated PCI function. */
export interface BindingPciFunction {
  readonly handle: number
  readonly name: string
  assign(addresses: { bar: number; address: bigint }[], interruptLine: number): void
  setBusReset(possible: boolean): void
  reset(): void
  interrupts(): NativePciInterruptState
  dma(): BindingDma
  close(): void
}

/** Owner of a mapped region. */
export interface BindingRegionMapping {
  readonly handle: number
  readonly length: number
  readonly memoryOffset: number
  memory(): BindingMemory | null
  close(): void
}

/**
 * An entry of an eventfd payload: the handle of a counter (1 and above), 0 for none, or a negative number: -1000000 + fd
 * for a negative descriptor, else a negated errno.
 */
export type BindingIrqFd = number

/** An interrupt request. */
export interface BindingIrqRequest {
  argsz: number
  flags: number
  index: number
  start: number
  count: number
  bools?: Uint8Array
  events?: BindingIrqFd[]
}

/** Owner of a binding of vfio-pci. */
export interface BindingVfioPci {
  readonly handle: number
  openDevice(dma: number | undefined): void
  closeDevice(): void
  getInfo(): NativeDeviceInfo
  getRegionInfo(index: number): NativeRegionInfo
  getIrqInfo(index: number): NativeIrqInfo
  setIrqs(request: BindingIrqRequest): void
  reset(): void
  submitRead(region: number, offset: bigint, length: number): Promise<Uint8Array>
  submitWrite(region: number, offset: bigint, from: Uint8Array): Promise<number>
  mmap(region: number, offset: bigint, length: bigint): BindingRegionMapping
  deviceFeature(
    flags: number,
    length: number,
    functions: {
      read(offset: number, length: number): Uint8Array | undefined
      write(offset: number, data: Uint8Array): boolean
      event(fd: number): BindingIrqFd
    },
  ): { bar: number; openFlags: number; ranges: bigint[] } | null
  ioeventfd(flags: number, offset: bigint, data: bigint, event: BindingIrqFd): void
  request(count: number): void
  reportError(): void
  close(): void
}

/** Classes and functions that throw. */
export interface BindingClasses {
  enterRealm(wasmBuffer: (() => unknown) | undefined, mainThread: boolean): void
  debugPanic(message: string): never
  addonVersion(): string
  externalBuffers(): NativeExternalBuffers
  NativeMemory: {
    anonymous(length: bigint, huge?: bigint): BindingMemory
    memfd(name: string, length: bigint, huge?: bigint): BindingMemory
    fromShared(view: Uint8Array): BindingMemory
    fromBuffer(buffer: unknown, offset: bigint, length: bigint): BindingMemory
    fromWebAssembly(memory: unknown, offset: bigint, length: bigint): BindingMemory
    adopt(token: bigint): BindingMemory
  }
  NativeAddressSpace: {
    new (memlock: bigint, capIpcLock: boolean, pageSize?: bigint): BindingAddressSpace
    /** Absent where programs cannot be run on a machine. */
    ofProcess?(pid: number, machine: number): BindingAddressSpace
  }
  NativeEventFd: {
    create(initial: bigint): BindingEventFd
    /** Without a descriptor, as systems without eventfds have it. */
    inProcess(initial: bigint): BindingEventFd
    fromFd(fd: number): BindingEventFd
  }
  /** Linux only. */
  NativeKvm?: NativeKvmClass
  NativeServer: {
    start(path: string, settings: NativeServeSettings, wake: () => void, native: number | undefined): BindingServer
  }
  connectDevice(path: string, patience: number): Promise<BindingRemoteDevice>
  NativeType1: new (v2: boolean, entryLimit: number) => BindingType1
  NativeDma: { adopt(token: bigint): BindingDma }
  NativeDomain: { leave(type1: number, mm: number): bigint; adopt(token: bigint): BindingDomain }
  makeNvme(identity: BindingPciIdentity, settings: BindingNvmeSettings): BindingPciFunction
  makeTestdev(identity: BindingPciIdentity): BindingPciFunction
  makeDmaEngine(identity: BindingPciIdentity): BindingPciFunction
  makeIoat(identity: BindingPciIdentity): BindingPciFunction
  makeE1000e(identity: BindingPciIdentity): BindingPciFunction
  NativePciFunction: {
    edu(identity: BindingPciIdentity, dmaMask: bigint | undefined): BindingPciFunction
    fromModel(
      model: BindingPciModel,
      identity: BindingPciIdentity,
      description: BindingPciDescription,
    ): BindingPciFunction
    resetBus(functions: number[]): void
  }
  NativeVfioPci: new (pci: number, vga: boolean, atomicCompleter: number) => BindingVfioPci
}

/** A raw call that does nothing, to measure what a crossing costs. */
export interface RawDebug {
  debugEcho(value: number): number
}

/** Raw calls on memory. */
export interface RawMemory {
  memoryRead(memory: number, offset: U64, into: Uint8Array): number
  memoryWrite(memory: number, offset: U64, from: Uint8Array): number
  memoryFill(memory: number, offset: U64, length: U64, value: number): number
  memoryCopy(memory: number, offset: U64, target: number, targetOffset: U64, length: U64): number
  memoryReadU8(memory: number, offset: U64): number
  memoryReadU16(memory: number, offset: U64): number
  memoryReadU32(memory: number, offset: U64): number
  memoryReadU64(memory: number, offset: U64): bigint
  memoryWriteU8(memory: number, offset: U64, value: number): number
  memoryWriteU16(memory: number, offset: U64, value: number): number
  memoryWriteU32(memory: number, offset: U64, value: number): number
  memoryWriteU64(memory: number, offset: U64, value: U64): number
  memoryCompareExchange32(memory: number, offset: U64, expected: number, desired: number): number
  memoryCompareExchange64(memory: number, offset: U64, expected: U64, desired: U64): bigint
  memoryFetchAdd32(memory: number, offset: U64, value: number): number
  memoryFetchAdd64(memory: number, offset: U64, value: U64): bigint
}

/** Raw calls on address spaces. */
export interface RawAddressSpace {
  addressSpaceRead(mm: number, address: U64, into: Uint8Array): number
  addressSpaceWrite(mm: number, address: U64, from: Uint8Array): number
}

/** Raw calls on event counters. */
export interface RawEventFd {
  eventFdSignal(event: number, value: U64): number
  eventFdAdd(event: number, value: U64): number
  eventFdRead(event: number): bigint
  eventFdCount(event: number): bigint
  eventFdPoll(event: number): number
}

/** Raw calls on a device's view of memory. */
export interface RawDma {
  dmaRead(dma: number, iova: U64, into: Uint8Array): number
  dmaWrite(dma: number, iova: U64, from: Uint8Array): number
  dmaFill(dma: number, iova: U64, length: U64, value: number): number
  dmaReadU8(dma: number, iova: U64): number
  dmaReadU16(dma: number, iova: U64): number
  dmaReadU32(dma: number, iova: U64): number
  dmaReadU64(dma: number, iova: U64): bigint
  dmaWriteU8(dma: number, iova: U64, value: number): number
  dmaWriteU16(dma: number, iova: U64, value: number): number
  dmaWriteU32(dma: number, iova: U64, value: number): number
  dmaWriteU64(dma: number, iova: U64, value: U64): number
  dmaCompareExchange32(dma: number, iova: U64, expected: number, desired: number): number
  dmaCompareExchange64(dma: number, iova: U64, expected: U64, desired: U64): bigint
  dmaFetchAdd32(dma: number, iova: U64, value: number): number
  dmaFetchAdd64(dma: number, iova: U64, value: U64): bigint
  /** A function that translates one address for reading (1) or writing (2); a negated errno where there is no such view. */
  dmaTranslator(dma: number, access: number): ((iova: U64) => number) | number
  dmaTranslateBatch(dma: number, iovas: BigUint64Array, access: number, hosts: BigUint64Array): number
  dmaReadBatch(dma: number, pairs: BigUint64Array, into: Uint8Array): number
  dmaWriteBatch(dma: number, pairs: BigUint64Array, from: Uint8Array): number
  dmaPinPages(dma: number, iova: U64, pages: number, access: number): number
  dmaUnpinPages(dma: number, iova: U64, pages: number): number
}

/** Raw calls on a type1 IOMMU. */
export interface RawType1 {
  type1MapDma(type1: number, mm: number, flags: number, vaddr: U64, iova: U64, size: U64): number
  type1UnmapDma(type1: number, flags: number, iova: U64, size: U64): bigint
  type1UnmapDmaTo(
    type1: number,
    flags: number,
    iova: U64,
    size: U64,
    pageSize: U64,
    bitmapSize: U64,
    mm: number,
    address: U64,
  ): bigint
  type1UnmapDmaInto(
    type1: number,
    flags: number,
    iova: U64,
    size: U64,
    pageSize: U64,
    bitmapSize: U64,
    bitmap: Uint8Array,
  ): bigint
  type1MapDmaBatch(type1: number, mm: number, flags: number, triples: BigUint64Array, failure?: Int32Array): number
  type1UnmapDmaBatch(type1: number, flags: number, pairs: BigUint64Array, failure?: Int32Array): number
  type1DirtyTo(type1: number, iova: U64, size: U64, pageSize: U64, bitmapSize: U64, mm: number, address: U64): number
  type1DirtyInto(type1: number, iova: U64, size: U64, pageSize: U64, bitmapSize: U64, bitmap: Uint8Array): number
}

/** Raw calls on PCI functions, on vfio-pci and on mapped regions. */
export interface RawPci {
  pciConfigRead(pci: number, offset: number, width: number): number
  pciConfigWrite(pci: number, offset: number, width: number, value: number): number
  pciBarRead(pci: number, bar: number, offset: U64, into: Uint8Array): number
  pciBarWrite(pci: number, bar: number, offset: U64, from: Uint8Array): number
  pciSetIntx(pci: number, level: number): number
  pciTriggerMsi(pci: number, vector: number): number
  pciTriggerMsix(pci: number, vector: number): number
  pciIsAttached(pci: number): number
  vfioPciRead(device: number, region: number, offset: U64, into: Uint8Array): number
  vfioPciWrite(device: number, region: number, offset: U64, from: Uint8Array): number
  regionMappingRead(mapping: number, offset: U64, into: Uint8Array): number
  regionMappingWrite(mapping: number, offset: U64, from: Uint8Array): number
}

/** Everything in the `.node` file. */
export interface Binding
  extends BindingClasses, RawDebug, RawMemory, RawAddressSpace, RawEventFd, RawDma, RawType1, RawPci {}
