/**
 * The hand-typed interface of the native addon: everything that `ts/native/load.ts` hands out.
 *
 * Two manners, told apart by the return type:
 * - *status methods* return a number that is zero or positive on success and a **negated errno** on refusal (`-14` is
 *   EFAULT); those that return a `bigint` value do the same in bigint. They never throw for a refusal; turn the answer
 *   into an error with `status()` of `syscall.ts`.
 * - all others throw an `Error` whose `code` is the errno's name; wrap the call in `syscall()` of `syscall.ts`.
 *
 * In both, an argument of the wrong shape is a `TypeError` with `ERR_INVALID_ARG_TYPE` (or a `RangeError` with
 * `ERR_OUT_OF_RANGE`), and a closed object answers EBADF. Where a parameter says {@link U64}, a bigint or a safe
 * integer will do. Sizes, offsets and addresses are in bytes.
 */
import type { U64 } from '../shape.ts'

/** Zero or positive on success, a negated errno on refusal. */
export type NativeStatus = number

/** Like {@link NativeStatus} where the value is 64 bits wide: negative is a negated errno. */
export type NativeStatus64 = bigint

/** Where the bytes of memory come from. */
export type NativeMemoryKind = 'anonymous' | 'memfd' | 'file' | 'buffer'

/** What this package needs of a `WebAssembly.Memory` (whose type only the DOM library declares). */
export interface WebAssemblyMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  /** Grows the memory by `delta` pages of 64 KiB. */
  grow(delta: number): number
}

/** JavaScript memory that can be mapped. */
export type NativeMemorySource = ArrayBuffer | SharedArrayBuffer | WebAssemblyMemory

/** Bytes that can be mapped into address spaces and reached by DMA. Lives as long as a handle or a mapping needs it. */
export interface NativeMemory {
  /** Size in bytes. */
  readonly length: number
  readonly kind: NativeMemoryKind
  /** The descriptor behind a memfd or file (owned by the memory: do not close it), -1 where there is none. */
  fd(): number
  /** Tells whether both handles mean the same bytes (same object, wherever in it). */
  sameObject(other: NativeMemory): boolean
  /** Copies out. 0, or EFAULT: outside, detached, shrunk, or another thread's ArrayBuffer. */
  read(offset: U64, into: Uint8Array): NativeStatus
  /** Copies in. 0, or EFAULT. */
  write(offset: U64, from: Uint8Array): NativeStatus
  /** Sets `length` bytes to `value` (its low 8 bits). 0, or EFAULT. */
  fill(offset: U64, length: U64, value: number): NativeStatus
  /** Copies `length` bytes to `target`, as memmove does. 0, or EFAULT. */
  copy(offset: U64, target: NativeMemory, targetOffset: U64, length: U64): NativeStatus
  /** The value (little endian), one atomic access where aligned; EFAULT. */
  readU8(offset: U64): NativeStatus
  readU16(offset: U64): NativeStatus
  readU32(offset: U64): NativeStatus
  readU64(offset: U64): NativeStatus64
  /** 0, or EFAULT. Values out of range are a `RangeError`. */
  writeU8(offset: U64, value: number): NativeStatus
  writeU16(offset: U64, value: number): NativeStatus
  writeU32(offset: U64, value: number): NativeStatus
  writeU64(offset: U64, value: U64): NativeStatus
  /** Stores `desired` where `expected` stands; returns what stood there. EFAULT, EINVAL unaligned. */
  compareExchange32(offset: U64, expected: number, desired: number): NativeStatus
  compareExchange64(offset: U64, expected: U64, desired: U64): NativeStatus64
  /** Adds with wrap-around; returns what stood there. EFAULT, EINVAL unaligned. */
  fetchAdd32(offset: U64, value: number): NativeStatus
  fetchAdd64(offset: U64, value: U64): NativeStatus64
  /** A number by which another Worker of this process gets the same memory ({@link NativeMemoryClass.adopt}). */
  share(): bigint
  /** Lets this handle go (idempotent); mappings keep the bytes. */
  close(): void
}

/** Makes memory. */
export interface NativeMemoryClass {
  /** Private zeroed pages. @throws EINVAL zero length, ENOMEM */
  anonymous(length: U64): NativeMemory
  /** Pages behind a descriptor that other processes can map. @throws EINVAL, ENOMEM, EOPNOTSUPP not on this system */
  memfd(name: string, length: U64): NativeMemory
  /**
   * JavaScript's own memory, referenced while the memory lives.
   *
   * Shared memory works from any thread. An ArrayBuffer or an unshared WebAssembly.Memory works on this JavaScript thread
   * only and is asked again at each use: detached, shrunk or on another thread, it answers EFAULT.
   * @throws EINVAL `offset + length` is outside the buffer, or length is zero
   */
  fromBuffer(buffer: NativeMemorySource, offset: U64, length: U64): NativeMemory
  /** Takes what `share()` gave, once per share, in any Worker. @throws EBADF unknown or already taken */
  adopt(token: bigint): NativeMemory
}

/** Limits of a simulated process. */
export interface NativeLimits {
  /** RLIMIT_MEMLOCK in bytes; 2^64-1 is no limit. */
  memlock: bigint
  capIpcLock: boolean
}

/** Where and how {@link NativeAddressSpace.map} places memory. */
export interface NativeMapRequest {
  /** Wanted address (a multiple of 4096); absent: any free one. */
  hint?: U64
  /** Alignment of the address, a power of two; default 4096. */
  align?: U64
  memory: NativeMemory
  /** Offset into the memory and length; any number of bytes, areas end in the middle of a page if asked to. */
  offset: U64
  length: U64
  read: boolean
  write: boolean
}

/** The memory of one simulated process: which bytes lie at which of its virtual addresses, and its lock accounting. */
export interface NativeAddressSpace {
  /** Puts memory at an address. @throws EINVAL, EEXIST the hint is taken, ENOMEM */
  map(request: NativeMapRequest): bigint
  /** Removes what lies in the range, cutting areas as munmap does. @throws EINVAL */
  unmap(address: U64, length: U64): void
  /** Changes the permissions of a range. @throws EINVAL, ENOMEM a hole */
  protect(address: U64, length: U64, read: boolean, write: boolean): void
  /** Locks a range, charging its pages. @throws ENOMEM over the limit or a hole, EPERM */
  mlock(address: U64, length: U64): void
  /** Unlocks a range. @throws ENOMEM a hole */
  munlock(address: U64, length: U64): void
  /** `copy_from_user`: 0, or EFAULT; bytes before the bad address may have been copied. */
  read(address: U64, into: Uint8Array): NativeStatus
  /** `copy_to_user`: 0, or EFAULT; bytes before the bad address may have been copied. */
  write(address: U64, from: Uint8Array): NativeStatus
  /** Sets RLIMIT_MEMLOCK; 2^64-1 is no limit. */
  setLimit(bytes: U64): void
  /** Gives or takes CAP_IPC_LOCK. */
  setCapIpcLock(capable: boolean): void
  /** Locked pages (`VmLck`, what type1 charges). */
  lockedVm(): bigint
  /** Pinned pages (`VmPin`, what iommufd charges). */
  pinnedVm(): bigint
  /** The process is gone: drops its areas. Mappings made from it stay, as the kernel's pins do. Idempotent. */
  close(): void
}

/** A range that the IOMMU does not translate. `kind` is the kernel's `enum iommu_resv_type`. */
export interface NativeReservedRegion {
  start: bigint
  /** Last address, inclusive. */
  last: bigint
  kind: 'direct' | 'direct-relaxable' | 'reserved' | 'msi' | 'sw-msi'
}

/** Geometry of a simulated IOMMU. */
export interface NativeGeometry {
  /** Bitmap of page sizes. */
  pgsizes: bigint
  apertureStart: bigint
  /** Last address, inclusive. */
  apertureLast: bigint
  reserved: readonly NativeReservedRegion[]
  cacheCoherency: boolean
}

/** Where a dirty bitmap goes: user memory of a process, or bytes of ours. */
export type NativeBitmapTarget = { mm: NativeAddressSpace; address: U64 } | Uint8Array

/** `struct vfio_bitmap`. */
export interface NativeBitmap {
  /** Page size that one bit stands for. */
  pageSize: U64
  /** Size of the bitmap in bytes. */
  size: U64
  target: NativeBitmapTarget
}

/** What `VFIO_IOMMU_GET_INFO` tells. */
export interface NativeType1Info {
  /** Bitmap of page sizes. */
  pgsizes: bigint
  /** Usable ranges, inclusive; absent where nothing is attached that would give any. */
  iovaRanges?: { start: bigint; last: bigint }[]
  /** Mappings that may still be made. */
  dmaAvail: number
  /** Dirty tracking, where it is supported. */
  migration?: { flags: number; pgsizeBitmap: bigint; maxDirtyBitmapSize: bigint }
}

/** A type1 IOMMU: the mappings of one container. */
export interface NativeType1 {
  /** Attaches a group behind the host's IOMMU. @throws EINVAL, EEXIST, ENODEV */
  attachHw(group: number, geometry: NativeGeometry): void
  /** Attaches a group of mediated devices. @throws EINVAL, EEXIST */
  attachEmulated(group: number): void
  /** Detaches a group; the last hardware group takes the mappings' hardware side with it. */
  detach(group: number): void
  /** `VFIO_IOMMU_MAP_DMA` on behalf of `mm`. 0, or EINVAL, EEXIST, ENOSPC, EPERM, ENOMEM, EFAULT. */
  mapDma(mm: NativeAddressSpace, flags: number, vaddr: U64, iova: U64, size: U64): NativeStatus
  /**
   * `VFIO_IOMMU_UNMAP_DMA`; returns the bytes unmapped.
   * @throws EINVAL, ENOENT, EFAULT the bitmap, EBUSY
   */
  unmapDma(mm: NativeAddressSpace, flags: number, iova: U64, size: U64, bitmap?: NativeBitmap): bigint
  /**
   * Maps triples of vaddr, iova, size. Returns how many succeeded, in order; it stops at the first refusal, whose negated
   * errno is stored in `failure[0]` (0 where none).
   */
  mapDmaBatch(mm: NativeAddressSpace, flags: number, triples: BigUint64Array, failure?: Int32Array): number
  /**
   * Unmaps pairs of iova, size, storing the bytes unmapped in the place of size. Returns how many succeeded; see
   * {@link mapDmaBatch}.
   */
  unmapDmaBatch(mm: NativeAddressSpace, flags: number, pairs: BigUint64Array, failure?: Int32Array): number
  /** Starts dirty tracking. @throws EINVAL, EACCES (v1), ENOMEM */
  dirtyStart(): void
  /** Stops dirty tracking. @throws EACCES (v1) */
  dirtyStop(): void
  /** Reports and clears the dirty pages of a range. @throws EINVAL, ENOENT, EFAULT, EACCES */
  dirtyGetBitmap(iova: U64, size: U64, bitmap: NativeBitmap): void
  info(): NativeType1Info
  /** `VFIO_CHECK_EXTENSION`, once the model is set. */
  checkExtension(extension: number): number
  /**
   * Gives the view of memory of a device that was opened.
   *
   * `kind`: `'iommu'` through the page table, `'emulated'` through the mappings' user memory (`vfio_dma_rw`). `onUnmap` makes
   * the device a listener of unmaps (`dma_unmap`): it runs synchronously inside the unmap, outside any lock, on this
   * thread, and is asked again until the device has let its pins go. What it throws leaves from the unmap.
   */
  openDevice(
    group: number,
    name: string,
    kind: 'iommu' | 'emulated',
    onUnmap?: (iova: bigint, length: bigint) => void,
  ): NativeDma
  /** The device was closed: its pins go, its view answers EBADF. Idempotent. */
  closeDevice(dma: NativeDma): void
  /** The log of refused DMA. */
  faults(): NativeFaultLog
  /** Number of mappings. */
  mappings(): number
  /** Takes everything down (idempotent). */
  close(): void
}

/** Kinds of access; combine with `|`. */
export const DMA_READ = 1
/** The device writes memory. */
export const DMA_WRITE = 2

/** The view of memory of one device. */
export interface NativeDma {
  /** Name of the device. */
  readonly name: string
  /** 0, or EFAULT, EAGAIN memory reachable only by message. Nothing is copied where a part is refused. */
  read(iova: U64, into: Uint8Array): NativeStatus
  write(iova: U64, from: Uint8Array): NativeStatus
  fill(iova: U64, length: U64, value: number): NativeStatus
  readU8(iova: U64): NativeStatus
  readU16(iova: U64): NativeStatus
  readU32(iova: U64): NativeStatus
  readU64(iova: U64): NativeStatus64
  writeU8(iova: U64, value: number): NativeStatus
  writeU16(iova: U64, value: number): NativeStatus
  writeU32(iova: U64, value: number): NativeStatus
  writeU64(iova: U64, value: U64): NativeStatus
  /** Stores `desired` where `expected` stands; returns what stood there. EFAULT, EINVAL unaligned. */
  compareExchange32(iova: U64, expected: number, desired: number): NativeStatus
  compareExchange64(iova: U64, expected: U64, desired: U64): NativeStatus64
  /** Adds with wrap-around; returns what stood there. EFAULT, EINVAL unaligned. */
  fetchAdd32(iova: U64, value: number): NativeStatus
  fetchAdd64(iova: U64, value: U64): NativeStatus64
  /** Address in this process that `iova` leads to (for diagnosis and measurement), or EFAULT. `access`: {@link DMA_READ} | {@link DMA_WRITE}. */
  translate(iova: U64, access: number): NativeStatus
  /** Translates each of `iovas` into `hosts` (2^64-1 where refused). Returns how many were translated; EINVAL unequal lengths. */
  translateBatch(iovas: BigUint64Array, access: number, hosts: BigUint64Array): NativeStatus
  /** Gathers: reads pairs of iova, length one behind the other into `into`. Bytes copied; EFAULT, EINVAL `into` is too short. */
  readBatch(pairs: BigUint64Array, into: Uint8Array): NativeStatus
  /** Scatters: writes `from` to pairs of iova, length. Bytes copied; EFAULT, EINVAL `from` is too short. */
  writeBatch(pairs: BigUint64Array, from: Uint8Array): NativeStatus
  /** `vfio_pin_pages`: pins `pages` pages of 4 KiB. 0, or EINVAL, ENOTTY, ENOMEM, EFAULT. `access` as in {@link translate}. */
  pinPages(iova: U64, pages: number, access: number): NativeStatus
  /** `vfio_unpin_pages`. 0, or EINVAL. */
  unpinPages(iova: U64, pages: number): NativeStatus
  /** A number by which another Worker of this process gets the same view ({@link NativeDmaClass.adopt}). */
  share(): bigint
}

/** Gives views of memory to other Workers. */
export interface NativeDmaClass {
  /** Takes what `share()` gave, once per share. @throws EBADF unknown or already taken */
  adopt(token: bigint): NativeDma
}

/** Why a DMA was refused. */
export type NativeFaultReason =
  | 'no-mapping'
  | 'permission'
  | 'outside-window'
  | 'detached'
  | 'misaligned'
  | 'bus-master-off'
  | 'not-attached'
  | 'would-block'
  | 'out-of-memory'

/** A refused DMA. */
export interface NativeFault {
  /** Number of the fault since the log began, from 1. */
  sequence: bigint
  device: string
  iova: bigint
  length: bigint
  access: 'read' | 'write'
  reason:
    'no-mapping' | 'permission' | 'outside-window' | 'detached' | 'bus-master-off' | 'not-attached' | 'would-block'
  /** Nearest mappings, inclusive ends. */
  below?: { start: bigint; last: bigint }
  above?: { start: bigint; last: bigint }
  /** What last mapped or unmapped that address. */
  lastEvent?: { kind: 'map' | 'unmap'; start: bigint; last: bigint; /** How many changes came later. */ ago: bigint }
  /** The record as one or more sentences. */
  text: string
}

/** Bounded log of refused DMA. */
export interface NativeFaultLog {
  /** Faults since the beginning, the forgotten ones too. */
  total(): bigint
  /** The newest records, oldest first. */
  records(): NativeFault[]
  /** Forgets the records; the total stays. */
  clear(): void
  /** Sets how many records are kept. */
  setCapacity(records: number): void
  /** Runs for each fault that is still kept, at the next turn of this thread's event loop; undefined ends it. It does not keep the loop alive. */
  setListener(listener: ((fault: NativeFault) => void) | undefined): void
}

/** An event counter: an eventfd on Linux, a counter of this process elsewhere. */
export interface NativeEventFd {
  /** Adds `value` (default 1), saturating at 2^64-2. Throws EBADF when closed. */
  signal(value?: U64): void
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
  /** Reads `data.byteLength` (1, 2, 4 or 8) bytes of a BAR. */
  read?(bar: number, offset: bigint, data: Uint8Array): void
  /** Writes to a BAR. */
  write?(bar: number, offset: bigint, data: Uint8Array): void
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
  /** Bytes read, or EINVAL, EIO, EFAULT. A short count is an end, as in the kernel. */
  read(region: number, offset: U64, into: Uint8Array): NativeStatus
  /** Bytes written, or EINVAL, EIO. */
  write(region: number, offset: U64, from: Uint8Array): NativeStatus
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

/** Settings of a vfio-user server; see `ServeOptions`. */
export interface NativeServeSettings {
  maxTransfer?: number
  maxMappings?: number
  patience?: number
  keepState?: boolean
  uid?: number
}

/** A request of a client to a served device. */
export interface NativeServedRequest {
  /** By which it is answered. */
  token: number
  kind: 'open' | 'close' | 'info' | 'region-info' | 'irq-info' | 'set-irqs' | 'reset' | 'read' | 'write' | 'dma-unmap'
  /** Region or interrupt index. */
  index: number
  /** Offset into the region, or address. */
  offset: bigint
  /** Bytes or interrupts; for `dma-unmap` one less than the bytes. */
  length: bigint
  /** Flags and first interrupt of `set-irqs`. */
  flags: number
  start: number
  /** What is to be written, or booleans. */
  data?: Uint8Array
  /** Entries of `set-irqs`: 1 an event to be taken, -1 none, below that the errno of its lookup plus one, negated. */
  events?: number[]
}

/** Something that happened to a server. */
export interface NativeServedEvent {
  kind: 'attached' | 'detached' | 'refused' | 'stopped'
  reason?: string
  pid?: number
  uid?: number
  minor?: number
}

/** A vfio-user server. Its event loop goes on until `stopped` was taken. */
export interface NativeServer {
  /** The next request; undefined: none, and the next one wakes. */
  nextRequest(): NativeServedRequest | undefined
  nextEvent(): NativeServedEvent | undefined
  /** The client's memory, for an `open` that was not answered yet. @throws EINVAL */
  takeDma(token: number, name: string): NativeDma
  /** An event of a `set-irqs` that was not answered yet. @throws EINVAL, and what its lookup failed with */
  takeEvent(token: number, entry: number): NativeEventFd
  /** Answers: `status` 0 or a negated errno. @throws EINVAL nobody waits for that */
  answer(token: number, status: number, numbers?: bigint[], data?: Uint8Array): void
  stop(): void
}

/** Starts servers. */
export interface NativeServerClass {
  /** `native`: the device itself, where it is native; then only `open` and `close` come as requests. @throws what listening is refused with */
  start(path: string, settings: NativeServeSettings, wake: () => void, native?: NativeVfioPci): NativeServer
}

/** All that the addon exports. */
export interface Addon {
  /** Version of the addon. */
  readonly version: string
  readonly NativeMemory: NativeMemoryClass
  readonly NativeAddressSpace: new (limits: NativeLimits) => NativeAddressSpace
  /** `entryLimit` is `dma_entry_limit`. */
  readonly NativeType1: new (v2: boolean, entryLimit: number) => NativeType1
  readonly NativeDma: NativeDmaClass
  readonly NativeEventFd: NativeEventFdClass
  readonly NativePciFunction: NativePciFunctionClass
  readonly NativeServer: NativeServerClass
  readonly NativeVfioPci: new (pci: NativePciFunction, options?: NativeVfioPciOptions) => NativeVfioPci
  /** Panics inside Rust, to prove that a panic becomes an exception. */
  debugPanic(message: string): never
}
