/** The part of the addon that is devices: event counters, PCI functions with their models, and vfio-pci. See `addon.ts` for its manners. */
import type { U64 } from '../shape.ts'
import type { NativeDma } from './addon-iommu.ts'
import type { NativeMemory, NativeStatus } from './addon-memory.ts'

/** An event counter: an eventfd on Linux, a counter of this process elsewhere. */
export interface NativeEventFd {
  /** Adds `value` (default 1), saturating at 2^64-2. Throws EBADF when closed. */
  signal(value?: U64): void
  /** Adds as a write to a non-blocking eventfd does: 0, or EAGAIN there is no room, EINVAL 2^64-1, EBADF. */
  add(value: U64): NativeStatus
  /** The count, which stays. @throws EOPNOTSUPP the system does not tell (no `/proc`), EBADF */
  count(): bigint
  /** POLLIN (1) where the count is not zero, POLLOUT (4) where there is room for 1. Throws EBADF when closed. */
  poll(): number
  /** Takes the count; undefined where it is zero. */
  read(): bigint | undefined
  /** The descriptor (owned by this object), -1 where there is none. */
  fd(): number
  /**
   * Calls back on this thread's event loop whenever the count is not zero, with the count, which is taken. Events that come
   * before the loop turns are added up. Keeps the loop alive until `unwatch`. @throws EBUSY somebody watches already
   */
  watch(callback: (count: bigint) => void): void
  /** Ends watching (idempotent). */
  unwatch(): void
  /** Idempotent; whoever holds the event (an interrupt that is enabled) keeps it. */
  close(): void
}

/** Makes event counters. */
export interface NativeEventFdClass {
  /** @throws EMFILE */
  create(initial?: U64): NativeEventFd
  /** Takes part in an eventfd that exists; the descriptor is duplicated. @throws EBADF, EINVAL not an eventfd, EOPNOTSUPP */
  fromFd(fd: number): NativeEventFd
}

/** Identity of a simulated PCI function. */
export interface NativePciIdentity {
  /** Name for messages and faults, such as `'0000:06:0d.0'`. */
  name: string
  vendor: number
  device: number
  subsystemVendor?: number
  subsystemDevice?: number
  revision?: number
  /** 24-bit class code, such as 0x00ff00. */
  classCode?: number
  /** The header says that the slot has more functions. */
  multifunction?: boolean
}

/** A base address register of a JavaScript model. */
export interface NativePciBar {
  /** 0 to 5. */
  index: number
  /** A power of two, at least 16 (memory) or 4 (I/O). */
  size: U64
  kind: 'memory32' | 'memory64' | 'io'
  prefetchable?: boolean
  /** Memory behind the whole BAR: accesses to it never reach the model, and it can be mapped. */
  memory?: NativeMemory
  /** Memory behind parts of it, instead. */
  windows?: readonly { offset: U64; length: U64; memory: NativeMemory; memoryOffset?: U64 }[]
  /** Registers whose writes signal an event instead of reaching the model. */
  doorbells?: readonly { offset: U64; width: number; value?: U64; event: NativeEventFd }[]
}

/** What a JavaScript model is made of. */
export interface NativePciDescription extends NativePciIdentity {
  bars: readonly NativePciBar[]
  /** Interrupt pin: 0 none, 1 INTA … 4 INTD. */
  interruptPin?: number
  /** MSI vectors (a power of two up to 32), 0 or absent: no MSI capability. */
  msi?: number
  /** MSI-X vectors with the place of table and pending bits. */
  msix?: { vectors: number; tableBar: number; tableOffset: number; pbaBar: number; pbaOffset: number }
  /** Function level reset (`FLR`), power management reset, PCI Express capability. */
  express?: boolean
  functionReset?: boolean
  powerManagement?: boolean
}

/**
 * A PCI device model in JavaScript. Runs on the thread that made the function; calls from other threads wait for it.
 *
 * An access whose callback throws fails with EIO; what was thrown becomes a warning of the process.
 */
export interface NativePciModel {
  /** Reads `data.byteLength` (1, 2, 4 or 8) bytes of a BAR, now or by the time that a promise is kept. */
  read?(bar: number, offset: bigint, data: Uint8Array): void | PromiseLike<void>
  /** Writes to a BAR, now or by the time that a promise is kept. */
  write?(bar: number, offset: bigint, data: Uint8Array): void | PromiseLike<void>
  /** Configuration space was written, after the hardware's own behaviour. */
  configWritten?(offset: number, width: number): void
  /** The function was reset. */
  reset?(): void
}

/** Whether the function raises an interrupt towards the host, as the hardware side sees it. */
export interface NativePciInterruptState {
  /** Level of the INTx line. */
  intx: boolean
  /** Messages sent since the function was made. */
  messages: bigint
  mode: 'none' | 'intx' | 'msi' | 'msix'
}

/** A simulated PCI function: configuration space, BARs, interrupts, the hardware's side. */
export interface NativePciFunction {
  readonly name: string
  /** Reads configuration space as the host does. `width`: 1, 2, 4. All ones where nothing is. */
  configRead(offset: number, width: number): number
  /** Writes configuration space as the host does. */
  configWrite(offset: number, width: number, value: number): void
  /** Reads BAR `bar` as the host's CPU does; bytes read or EINVAL. */
  barRead(bar: number, offset: U64, into: Uint8Array): NativeStatus
  /** Writes BAR `bar` as the host's CPU does; bytes written or EINVAL. */
  barWrite(bar: number, offset: U64, from: Uint8Array): NativeStatus
  /** Resets the function as the host does. @throws ENOTTY the function has no reset */
  reset(): void
  interrupts(): NativePciInterruptState
  /** Does what firmware does at boot: places BARs (index 6 is the ROM), notes the interrupt line, lets the function answer. @throws EINVAL */
  assign(addresses: readonly { bar: number; address: U64 }[], interruptLine: number): void
  /** Tells the function whether the host can reset the bus it sits on without touching other functions. */
  setBusReset(possible: boolean): void
  /** For a model: sets the level of the INTx line. */
  setIntx(level: boolean): void
  /** For a model: sends a message. 0, or EINVAL no such vector; dropped where masked or disabled, as the hardware does. */
  triggerMsi(vector: number): NativeStatus
  triggerMsix(vector: number): NativeStatus
  /** For a model: the function's DMA, through whatever IOMMU it sits behind and gated by bus mastering. Valid while a device is open. */
  dma(): NativeDma | undefined
  /** Idempotent. */
  close(): void
}

/** What an NVMe controller is made of beside its identity; see `NvmeOptions`. */
export interface NativeNvmeSettings {
  media?: NativeMemory
  capacity?: bigint
  serial?: string
  model?: string
  blockSize?: number
  queuePairs?: number
}

/** Makes PCI functions. */
export interface NativePciFunctionClass {
  /** QEMU's `edu`; identity defaults to 1234:11e8. */
  edu(options: Partial<NativePciIdentity> & { name: string; dmaMask?: U64 }): NativePciFunction
  /** An NVMe controller; identity defaults to 1b36:0010. @throws EINVAL a senseless setting, ENOMEM */
  nvme(identity: NativePciIdentity, settings: NativeNvmeSettings): NativePciFunction
  /** QEMU's `pci-testdev`; identity defaults to 1b36:0005. @throws ENOMEM */
  testdev(identity: NativePciIdentity): NativePciFunction
  /** A DMA engine; identity defaults to 1234:0d3a. */
  dmaEngine(identity: NativePciIdentity): NativePciFunction
  /** Intel's I/OAT DMA engine; identity defaults to 8086:2021. */
  ioat(identity: NativePciIdentity): NativePciFunction
  /** An Intel e1000e; identity defaults to 8086:10d3. */
  e1000e(identity: NativePciIdentity): NativePciFunction
  /** A function whose BARs are emulated by JavaScript. @throws EINVAL a senseless description */
  fromModel(model: NativePciModel, description: NativePciDescription): NativePciFunction
  /** Resets functions together, as the host does when it resets their bus: their state is saved and restored around it. */
  resetBus(functions: readonly NativePciFunction[]): void
}

/** A capability in the chain of an info structure. */
export interface NativeInfoCapability {
  id: number
  version: number
  payload: Uint8Array
}

/** `VFIO_DEVICE_GET_INFO`, in the shape of `DeviceInfo`. */
export interface NativeDeviceInfo {
  flags: number
  numRegions: number
  numIrqs: number
  capabilities?: NativeInfoCapability[]
}

/** `VFIO_DEVICE_GET_REGION_INFO`, in the shape of `RegionInfo`. */
export interface NativeRegionInfo {
  flags: number
  size: bigint
  offset: bigint
  capabilities?: NativeInfoCapability[]
}

/** `VFIO_DEVICE_GET_IRQ_INFO`, in the shape of `IrqInfo`. */
export interface NativeIrqInfo {
  flags: number
  count: number
}

/**
 * An entry of an eventfd payload: the event; null for descriptor -1; another negative descriptor as its number; or the
 * errno with which looking it up fails, which surfaces where the driver would look.
 */
export type NativeIrqFd = NativeEventFd | null | number | { errno: string }

/** `VFIO_DEVICE_SET_IRQS`. Exactly one of `bools` and `eventfds` stands where the flags ask for data; none for `DATA_NONE`. */
export interface NativeIrqSet {
  argsz: number
  flags: number
  index: number
  start: number
  count: number
  bools?: Uint8Array
  eventfds?: readonly NativeIrqFd[]
}

/** A part of a region in a program's address space. */
export interface NativeRegionMapping {
  /** Size in bytes. */
  readonly length: number
  /** The memory behind it, where accesses reach no model; the mapping begins at {@link memoryOffset} in it. */
  readonly memory: NativeMemory | undefined
  readonly memoryOffset: number
  /** Loads; 0, or EFAULT outside the mapping or where a program gets SIGBUS. */
  read(offset: U64, into: Uint8Array): NativeStatus
  /** Stores; 0, or EFAULT. */
  write(offset: U64, from: Uint8Array): NativeStatus
  /** Idempotent. */
  close(): void
}

/** What follows the header of a `VFIO_DEVICE_FEATURE` request, in the caller's memory. */
export interface NativeFeatureArgument {
  /** Size in bytes, as `argsz` says. */
  readonly length: number
  /** Copies bytes in. @throws EFAULT */
  read(length: number, offset: number): Uint8Array
  /** Copies bytes out. @throws EFAULT */
  write(data: Uint8Array, offset: number): void
  /** Looks a descriptor of the caller up. @throws EBADF, EINVAL */
  event(fd: number): NativeEventFd
}

/** Ranges of a BAR to share by descriptor. */
export interface NativeDmaBuf {
  bar: number
  /** Flags of the descriptor (`O_CLOEXEC`). */
  openFlags: number
  ranges: { offset: bigint; length: bigint }[]
}

/** Settings of vfio-pci, and facts about the machine. */
export interface NativeVfioPciOptions {
  /** The legacy VGA ranges of a display controller are a region. */
  vga?: boolean
  /** `VFIO_PCI_ATOMIC_COMP*`: atomic operations that the root port completes. */
  atomicCompleter?: number
}

/** vfio-pci over a simulated function, in the shape of `VfioDeviceOps`. */
export interface NativeVfioPci {
  /** `'vfio-pci'`. */
  readonly name: string
  readonly pci: NativePciFunction
  /** First open. `dma` is the view from the IOMMU, undefined for no-IOMMU. @throws EBUSY … */
  openDevice(dma: NativeDma | undefined): void
  closeDevice(): void
  getInfo(): NativeDeviceInfo
  /** @throws EINVAL no such region */
  getRegionInfo(index: number): NativeRegionInfo
  /** @throws EINVAL no such index */
  getIrqInfo(index: number): NativeIrqInfo
  /** @throws EINVAL, ENOTTY, and what an entry's lookup fails with */
  setIrqs(request: NativeIrqSet): void
  /** `VFIO_DEVICE_RESET`. @throws EINVAL the function has no reset */
  reset(): void
  /** Bytes read, or EINVAL, EIO, EFAULT, EAGAIN the model answers later. A short count is an end, as in the kernel. */
  read(region: number, offset: U64, into: Uint8Array): NativeStatus
  /** Bytes written, or EINVAL, EIO. Nobody waits for a model that is done with them later. */
  write(region: number, offset: U64, from: Uint8Array): NativeStatus
  /** As {@link read}, from models too that answer later; a refusal is an error whose `code` is the errno's name. */
  submitRead(region: number, offset: U64, length: number): Promise<Uint8Array>
  /** As {@link write}, until the model is done with it; see {@link submitRead}. */
  submitWrite(region: number, offset: U64, from: Uint8Array): Promise<number>
  /** Maps a part of a region. @throws EINVAL, ENODEV */
  mmap(
    region: number,
    offset: U64,
    length: U64,
    access: { read: boolean; write: boolean; shared: boolean },
  ): NativeRegionMapping
  /**
   * `VFIO_DEVICE_FEATURE`: `flags` as the caller passed them, `argument` what follows the header. The answer is a part of a
   * region to share where that was asked for, undefined otherwise. What `argument` throws leaves from here.
   * @throws ENOTTY unknown feature, EINVAL, EFAULT
   */
  deviceFeature(flags: number, argument: NativeFeatureArgument): NativeDmaBuf | undefined
  /** `VFIO_DEVICE_IOEVENTFD`; null removes. `flags` is the width in bytes. @throws EINVAL, EEXIST, ENODEV, ENOSPC */
  ioeventfd(flags: number, offset: U64, data: U64, event: NativeIrqFd): void
  /** Asks the user to let go, for the `count`th time (signals the REQ interrupt). */
  request(count: number): void
  /** Reports an uncorrected error of the function to its user (the ERR interrupt). */
  reportError(): void
  /** Idempotent. */
  close(): void
}
