/**
 * The device interface: what the core asks of a device, whoever emulates it.
 *
 * A device model in TypeScript is a plain object with these members; native devices (vfio-pci over a simulated
 * function) implement the same interface. An absent member means that the driver left the callback NULL. Refusals are
 * thrown as {@link VfioError}. Source: `struct vfio_device_ops`, `Documentation/driver-api/vfio.rst`.
 */
import type { NativeDma, NativeEventFd, NativeMemory } from '../native/addon.ts'
import type { U64 } from '../shape.ts'
import type { HotResetProvider } from './hot-reset.ts'

/** An event counter that interrupts are delivered through: an eventfd on Linux. */
export interface EventTarget64 {
  /**
   * The native counter behind it, for devices that are native themselves.
   * @internal
   */
  readonly native?: NativeEventFd | undefined
  /** Adds `value` (default 1) to the counter, saturating. */
  signal(value?: bigint): void
}

/** A capability in the chain of an info structure: its id, version and the bytes behind its header. */
export interface InfoCapability {
  /** Which capability: `VFIO_*_INFO_CAP_*`. */
  id: number
  /** Version of its layout. */
  version: number
  /** The bytes behind the header of 8. */
  payload: Uint8Array
}

/** Answer to `VFIO_DEVICE_GET_INFO`. */
export interface DeviceInfo {
  /** `VFIO_DEVICE_FLAGS_*`. */
  flags: number
  /** Region indexes, from 0; some may have no region. */
  numRegions: number
  /** Interrupt indexes, from 0; some may have no interrupt. */
  numIrqs: number
  /** The capability chain, in order. */
  capabilities?: readonly InfoCapability[]
}

/** Answer to `VFIO_DEVICE_GET_REGION_INFO`; `size` in bytes, `offset` is where the region lies in the device file. */
export interface RegionInfo {
  /** `VFIO_REGION_INFO_FLAG_*`. */
  flags: number
  /** Size in bytes; 0: there is nothing. */
  size: bigint
  /** Where the region begins in the device file. */
  offset: bigint
  /** The capability chain, in order. */
  capabilities?: readonly InfoCapability[]
}

/** Answer to `VFIO_DEVICE_GET_IRQ_INFO`; `count` is the number of interrupts within the index. */
export interface IrqInfo {
  /** `VFIO_IRQ_INFO_*`. */
  flags: number
  /** Interrupts within the index. */
  count: number
}

/** The file descriptors of a `VFIO_IRQ_SET_DATA_EVENTFD` request, looked up one by one as the driver reaches them. */
export interface IrqEventFds {
  /** How many there are. */
  readonly length: number
  /** The number that the caller passed for entry `i` (-1 unsets). */
  fd(i: number): number
  /**
   * Looks entry `i` up.
   * @throws {VfioError} EBADF no such descriptor, EINVAL not an eventfd
   */
  get(i: number): EventTarget64
}

/**
 * A `VFIO_DEVICE_SET_IRQS` request. It is fetched as the driver reaches it: every member fails with EFAULT where the request is
 * unreadable, the payload with EINVAL too where it is short.
 */
export interface IrqSetRequest {
  /** Bytes of the request, payload included. */
  argsz: number
  /** One `VFIO_IRQ_SET_DATA_*` and one `VFIO_IRQ_SET_ACTION_*`. */
  flags: number
  /** Interrupt index. */
  index: number
  /** First interrupt within the index. */
  start: number
  /** How many interrupts from `start` on; 0 with DATA_NONE and ACTION_TRIGGER disables the index. */
  count: number
  /** Payload as `count` booleans (`VFIO_IRQ_SET_DATA_BOOL`), one byte each. */
  bools(): Uint8Array
  /** Payload as `count` descriptors (`VFIO_IRQ_SET_DATA_EVENTFD`). */
  eventfds(): IrqEventFds
}

/** Memory behind a part of a region, as `mmap` gives it: accesses of 1, 2, 4 or 8 bytes at `offset` into the mapping. */
export interface RegionMapping {
  /** Size in bytes. */
  readonly length: bigint
  /**
   * The memory itself, where accesses reach no device model: a process can then use the mapping as memory.
   * @internal
   */
  readonly memory?: NativeMemory | undefined
  /**
   * Where in that memory the mapping begins; absent: at its start.
   * @internal
   */
  readonly memoryOffset?: bigint | undefined
  /** Reads `width` bytes, little endian. @throws {VfioError} EFAULT */
  read(offset: bigint, width: 1 | 2 | 4 | 8): bigint
  /** Writes `width` bytes, little endian. @throws {VfioError} EFAULT */
  write(offset: bigint, width: 1 | 2 | 4 | 8, value: bigint): void
  /** Unmaps. */
  close(): void
}

/** Memory behind a part of a region. */
export interface RegionMemory {
  /** Where in the region. */
  readonly offset: bigint
  /** How many bytes. */
  readonly length: bigint
  /**
   * The memory.
   * @internal
   */
  readonly memory: NativeMemory
  /** Where in the memory; absent: at its start. */
  readonly memoryOffset?: bigint | undefined
}

/** A register whose writes signal an event instead of running a callback. */
export interface RegionDoorbell {
  /** Where in the region. */
  readonly offset: bigint
  /** Bytes of the write that rings: 1, 2, 4 or 8. */
  readonly width: 1 | 2 | 4 | 8
  /** The value that rings; absent: every value. */
  readonly value?: bigint
  /** What is signalled. Memory behind the register keeps the value as well. */
  readonly event: EventTarget64
}

/** Argument of a raw ioctl: user memory behind a pointer, or the bare number. */
export interface IoctlArgument {
  /** The argument as a number (an address where it is a pointer). */
  readonly value: bigint
  /** Copies `length` bytes in from `offset`. @throws {VfioError} EFAULT */
  read(length: number, offset?: number): Uint8Array
  /** Copies bytes out to `offset`. @throws {VfioError} EFAULT */
  write(data: Uint8Array, offset?: number): void
}

/** A place in the regions of a device. */
export interface RegionPlace {
  /** Index of the region. */
  region: number
  /** Bytes from its start. */
  offset: bigint
}

/** A part of a region that is shared by descriptor (`VFIO_DEVICE_FEATURE_DMA_BUF`). */
export interface SharedRegion {
  /** Index of the region. */
  readonly region: number
  /** Parts of it, one behind the other: bytes from the region's start, and how many. */
  readonly ranges: readonly { offset: bigint; length: bigint }[]
}

/** Descriptors of whoever asks for a feature, or makes a request that the core does not know. */
export interface FeatureDescriptors {
  /** Looks an eventfd up. @throws {VfioError} EBADF no such descriptor, EINVAL not an eventfd */
  event(fd: number): EventTarget64
  /** Gives the caller a descriptor for a part of a region. @throws {VfioError} EMFILE, EOPNOTSUPP */
  installRegion(shared: SharedRegion): number
}

/** What a device sees of the memory it may reach by DMA; implemented by the IOMMU that it sits behind. */
export interface DmaAccess {
  /**
   * The native view behind it, for devices that are native themselves.
   * @internal
   */
  readonly native?: NativeDma
  /** Tells whether the device's registers are cut off too: reads give ones, writes are dropped. Absent: they never are. */
  registersStopped?(): boolean
  /** Reads `into.byteLength` bytes. @throws {VfioError} EFAULT with the DMA address, EAGAIN memory only by message */
  read(iova: U64, into: Uint8Array): void
  /** Writes bytes. @throws {VfioError} EFAULT with the DMA address, EAGAIN memory only by message */
  write(iova: U64, from: Uint8Array): void
  /** Reads one byte, little endian. @throws {VfioError} as {@link read} */
  readU8(iova: U64): number
  /** Reads two bytes, little endian. @throws {VfioError} as {@link read} */
  readU16(iova: U64): number
  /** Reads four bytes, little endian. @throws {VfioError} as {@link read} */
  readU32(iova: U64): number
  /** Reads eight bytes, little endian. @throws {VfioError} as {@link read} */
  readU64(iova: U64): bigint
  /** Writes one byte, little endian. @throws {VfioError} as {@link write} */
  writeU8(iova: U64, value: number): void
  /** Writes two bytes, little endian. @throws {VfioError} as {@link write} */
  writeU16(iova: U64, value: number): void
  /** Writes four bytes, little endian. @throws {VfioError} as {@link write} */
  writeU32(iova: U64, value: number): void
  /** Writes eight bytes, little endian. @throws {VfioError} as {@link write} */
  writeU64(iova: U64, value: U64): void
  /** Sets `length` bytes to `value` (0 to 255). @throws {VfioError} as {@link write} */
  fill(iova: U64, length: U64, value: number): void
  /**
   * Gathers: reads pairs of iova, length one behind the other into `into`, in one call; returns the bytes.
   * @throws {VfioError} as {@link read}; EINVAL `into` is too short, or half a pair
   */
  readBatch(pairs: BigUint64Array, into: Uint8Array): number
  /**
   * Scatters: writes `from` to pairs of iova, length, in one call; returns the bytes.
   * @throws {VfioError} as {@link write}; EINVAL `from` is too short, or half a pair
   */
  writeBatch(pairs: BigUint64Array, from: Uint8Array): number
  /**
   * Stores `desired` where `expected` stands, as one atomic operation of 32 bits; returns what stood there.
   * @throws {VfioError} as {@link write}; EINVAL the address is no multiple of 4
   */
  compareExchange32(iova: U64, expected: number, desired: number): number
  /** As {@link compareExchange32} with 64 bits. @throws {VfioError} as {@link write}; EINVAL the address is no multiple of 8 */
  compareExchange64(iova: U64, expected: U64, desired: U64): bigint
  /**
   * Adds with wrap-around, as one atomic operation of 32 bits; returns what stood there.
   * @throws {VfioError} as {@link write}; EINVAL the address is no multiple of 4
   */
  fetchAdd32(iova: U64, value: number): number
  /** As {@link fetchAdd32} with 64 bits. @throws {VfioError} as {@link write}; EINVAL the address is no multiple of 8 */
  fetchAdd64(iova: U64, value: U64): bigint
  /**
   * Tells where in this process an address leads, for diagnosis and measurement: nothing can be done with the number, and it may
   * be void as soon as it is returned. Tests whether a device may access the address.
   * @throws {VfioError} EFAULT nothing is mapped there for that access
   */
  translate(iova: U64, access: 'read' | 'write'): number
  /**
   * Translates each of `iovas` into the same place of `hosts`, 2^64-1 where it is refused; returns how many were translated.
   * @throws {VfioError} EINVAL the arrays differ in length
   */
  translateBatch(iovas: BigUint64Array, access: 'read' | 'write', hosts: BigUint64Array): number
  /** Pins `pages` pages from `iova` on (`vfio_pin_pages`), charging them. @throws {VfioError} */
  pinPages(iova: U64, pages: number, access: { read?: boolean; write?: boolean }): void
  /** Releases pages pinned before (`vfio_unpin_pages`). */
  unpinPages(iova: U64, pages: number): void
  /**
   * What the device sees by a PASID, from 1 on: what that was attached to.
   * @throws {VfioError} EOPNOTSUPP there are no PASIDs, EINVAL no such PASID, ENODEV nobody has the device open
   */
  withPasid?(pasid: number): DmaAccess
  /** Reads `length` bytes; promise forms work on every kind of memory. @throws {VfioError} EFAULT with the DMA address */
  readAsync(iova: U64, length: number): Promise<Uint8Array>
  /** Writes bytes. @throws {VfioError} EFAULT with the DMA address */
  writeAsync(iova: U64, from: Uint8Array): Promise<void>
}

/** What a stream says in PRE_COPY of what can be read before the device stops. */
export interface PrecopyInfo {
  /** Bytes that are best moved before the device is stopped. */
  initialBytes: bigint
  /** Bytes that have changed since they were read; an estimate. */
  dirtyBytes: bigint
  /**
   * There are initial bytes anew (`VFIO_PRECOPY_INFO_REINIT`). Told by bytes only to users who opted in with
   * `VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`.
   */
  reinit?: boolean
}

/** State that `VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE` gives a file for: a byte stream with the manners of a pipe. */
export interface MigrationStream {
  /** Reads up to `length` bytes; an empty array is the end. @throws {VfioError} ENOMSG, EBUSY, ENODEV … */
  read?(length: number, position?: bigint): Uint8Array
  /** Appends bytes. @throws {VfioError} */
  write?(data: Uint8Array, position?: bigint): number
  /** `VFIO_MIG_GET_PRECOPY_INFO`. @throws {VfioError} EINVAL the device is not in PRE_COPY */
  precopyInfo?(): PrecopyInfo
  /** Runs when the last descriptor is closed. */
  release?(): void
}

/** Callbacks of a device that can migrate (`struct vfio_migration_ops`). States are `VFIO_DEVICE_STATE_*`. */
export interface MigrationOps {
  /** `VFIO_MIGRATION_*` flags. */
  readonly flags: number
  /** Moves to `state` on one arc; returns the stream that the arc opens, if any. */
  setState(state: number): MigrationStream | undefined
  /** The state that the device is in. */
  getState(): number
  /** Bytes that stop-copy needs (`VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`). */
  dataSize?(): bigint
}

/** Callbacks of a device that logs its DMA (`struct vfio_log_ops`). */
export interface DmaLoggingOps {
  /** Starts logging writes to `ranges`; returns the page size chosen, `pageSize` being a hint. @throws {VfioError} */
  start(ranges: readonly { iova: bigint; length: bigint }[], pageSize: bigint): bigint
  /** Stops logging. */
  stop(): void
  /** Reports pages written since the last report: calls `mark` for each dirty range. */
  readAndClear(iova: bigint, length: bigint, mark: (iova: bigint, length: bigint) => void): void
}

/** What the core asks of a device. */
export interface VfioDeviceOps {
  /** Name of the driver, such as `'vfio-pci'`. */
  readonly name: string
  /** Runs when the device is made. */
  init?(): void
  /** Runs when the device is let go for good. */
  release?(): void
  /**
   * The device was bound to an iommufd, and is `id` there; the first open follows.
   * @throws {VfioError} refuses the binding, which is undone
   */
  bindIommufd?(id: number): void
  /** The device is no longer bound; where it was attached it is detached too. */
  unbindIommufd?(): void
  /**
   * The device was attached to an object of the iommufd, or moved there: `ptId` is that of an address space or a page table.
   * @throws {VfioError} refuses; it goes back to where it was
   */
  attachIoas?(ptId: number): void
  /** The device was detached on its user's demand. */
  detachIoas?(): void
  /**
   * Runs at the first open. `machine` stands for the virtual machine that uses the device, if KVM was told of the group or of the
   * device's own file before; drivers that cannot do without refuse.
   * @throws {VfioError} refuses the open
   */
  openDevice?(dma: DmaAccess | undefined, machine?: object): void
  /** Runs at the last close. */
  closeDevice?(): void
  /** `VFIO_DEVICE_GET_INFO`. */
  getInfo(): DeviceInfo
  /** `VFIO_DEVICE_GET_REGION_INFO`. @throws {VfioError} EINVAL no such region */
  getRegionInfo(index: number): RegionInfo
  /** Tells where a position of the device file lies; absent: region i begins at i * 2^40. */
  locate?(position: bigint): RegionPlace
  /** `VFIO_DEVICE_GET_IRQ_INFO`. @throws {VfioError} EINVAL no such index */
  getIrqInfo(index: number): IrqInfo
  /** `VFIO_DEVICE_SET_IRQS`. @throws {VfioError} EINVAL, ENOTTY */
  setIrqs(request: IrqSetRequest): void
  /** `VFIO_DEVICE_RESET`; absent: ENOTTY. */
  reset?(): void
  /** Reads from a region at `offset`; returns the bytes read. A promise completes the access later. */
  read?(region: number, offset: bigint, into: Uint8Array): number | Promise<number>
  /** Writes to a region at `offset`; returns the bytes written. A promise completes the access later. */
  write?(region: number, offset: bigint, from: Uint8Array): number | Promise<number>
  /** Promise forms of callbacks that would hold this thread up, such as those of a device in another process. */
  setIrqsAsync?(request: IrqSetRequest): Promise<void>
  /** Likewise. */
  resetAsync?(): Promise<void>
  /** Likewise. */
  readAsync?(region: number, offset: bigint, into: Uint8Array): Promise<number>
  /** Likewise. */
  writeAsync?(region: number, offset: bigint, from: Uint8Array): Promise<number>
  /** Maps part of a region. @throws {VfioError} EINVAL */
  mmap?(
    region: number,
    offset: bigint,
    length: bigint,
    access: { read: boolean; write: boolean; shared: boolean },
  ): RegionMapping
  /** Memory behind parts of a region, for servers, which answer for it themselves; absent: what can be mapped. */
  regionMemory?(region: number): readonly RegionMemory[]
  /** Registers of a region that a server rings without a callback, and that its client may ring without a message. */
  doorbells?(region: number): readonly RegionDoorbell[]
  /**
   * `VFIO_DEVICE_IOEVENTFD`: the event that `lookup` finds (absent: no longer) writes `data` to `offset` of the device file;
   * absent: ENOTTY. `width` in bytes. @throws {VfioError} EINVAL, EEXIST, ENODEV, ENOSPC, and what `lookup` throws
   */
  ioeventfd?(width: 1 | 2 | 4 | 8, offset: bigint, data: bigint, lookup: (() => EventTarget64) | undefined): void
  /** Slot or bus reset, where the device sits on a bus that has one; absent: ENOTTY. */
  readonly hotReset?: HotResetProvider
  /**
   * Takes the requests that come as bytes as they come, but `VFIO_DEVICE_FEATURE` and those of iommufd: for drivers that parse
   * them themselves. Absent: the callbacks above are asked by value. Returns the ioctl's value.
   */
  passThrough?(request: number, argument: IoctlArgument, descriptors: FeatureDescriptors): number
  /** Any other request on the device file; absent: ENOTTY. Returns the ioctl's value. */
  ioctl?(request: number, argument: IoctlArgument, descriptors: FeatureDescriptors): number
  /** `VFIO_DEVICE_FEATURE` for features that the core does not know; absent: ENOTTY. Returns the ioctl's value. */
  deviceFeature?(flags: number, argument: IoctlArgument, argsz: number, descriptors: FeatureDescriptors): number
  /** Migration callbacks, where the device migrates. */
  readonly migration?: MigrationOps
  /** DMA logging callbacks, where the device logs. */
  readonly dmaLogging?: DmaLoggingOps
  /** The device is going away and the user is asked to let go, for the `count`th time. */
  request?(count: number): void
  /** Tells whether a name passed to `VFIO_GROUP_GET_DEVICE_FD` means this device: `undefined` no, else yes. */
  match?(name: string): boolean
  /**
   * Judges the token that a user gave at `VFIO_DEVICE_BIND_IOMMUFD`, or that he gave none; absent: there are no tokens.
   * @throws {VfioError} EACCES, EINVAL
   */
  matchToken?(uuid: Uint8Array | undefined): void
  /** Pages in this range are being unmapped: unpin them now. */
  dmaUnmap?(iova: bigint, length: bigint): void
}
