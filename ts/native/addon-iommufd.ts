/** The part of the addon that is iommufd: address spaces, and what is attached to them. See `addon.ts` for its manners. */
import type { NativeDma, NativeFaultLog } from './addon-iommu.ts'
import type { NativeAddressSpace, NativeMemory } from './addon-memory.ts'
import type {
  NativeCommandQueue,
  NativeEventQueue,
  NativeNestedTable,
  NativePageRequests,
  NativeVirtualIommu,
} from './addon-nesting.ts'

/** A range of addresses, both ends inclusive. */
export interface NativeIovaRange {
  start: bigint
  last: bigint
}

/** A mapping to be made. */
export interface NativeIoasMapping {
  /** The process that maps, and pays. */
  mm: NativeAddressSpace
  /** Charge the process rather than its user. */
  chargeProcess: boolean
  read: boolean
  write: boolean
  length: bigint
  /** Where; absent leaves the choice. */
  iova?: bigint
}

/** What an unmap came to. */
export interface NativeUnmapped {
  /** Bytes unmapped, before a refusal too. */
  bytes: bigint
  /** 0, or a negated errno: EINVAL, EOVERFLOW, ENOENT, EDEADLK. */
  status: number
}

/** Where the written pages of a range are told. */
export interface NativeDirtyRequest {
  iova: bigint
  length: bigint
  /** Bytes that one bit stands for. */
  pageSize: bigint
  /** Forget what is told. */
  clear: boolean
}

/** A page table that mirrors the address space that it is added to. */
export interface NativePagingDomain {
  readonly pgsizes: bigint
}

/** What a page table can do. */
export interface NativeDomainOptions {
  /** Nothing walks it: it follows the space for tests of that. */
  mirror?: boolean
  /** Bitmap of page sizes. */
  pgsizes: bigint
  apertureStart: bigint
  /** Last address, inclusive. */
  apertureLast: bigint
  tracksDirty?: boolean
}

/** An I/O address space. */
export interface NativeIoas {
  /** Maps memory of the process; returns where. @throws EINVAL, EOVERFLOW, EEXIST, ENOSPC, EFAULT, ENOMEM */
  map(mapping: NativeIoasMapping, address: bigint): bigint
  /** Maps a file from `start` on; no memory stands for a file that has none. @throws as `map` */
  mapFile(mapping: NativeIoasMapping, memory: NativeMemory | undefined, start: bigint): bigint
  /** Maps what `source` shows; returns where. @throws ENOENT, EPERM, and as `map` */
  copyFrom(
    source: NativeIoas,
    range: { iova: bigint; length: bigint },
    at: bigint | undefined,
    access: { read: boolean; write: boolean },
  ): bigint
  unmap(iova: bigint, length: bigint): NativeUnmapped
  unmapAll(): NativeUnmapped
  /** Cuts areas at both ends of a range, where they can be cut. @throws EBUSY, EINVAL */
  cut(iova: bigint, length: bigint): void
  /** The ranges that are not reserved. */
  usable(): NativeIovaRange[]
  /** What every mapping is a multiple of. */
  alignment(): bigint
  /** Says where IOVAs may be chosen; nothing allows everything. @throws EINVAL, EADDRINUSE */
  allow(ranges: readonly NativeIovaRange[]): void
  /** Reserves ranges for a device, or for good. @throws EADDRINUSE */
  reserve(ranges: readonly NativeIovaRange[], device?: number): void
  /** Takes back what a device has reserved. */
  unreserve(device: number): void
  largePages(): boolean
  /** @throws EINVAL, EADDRINUSE */
  setLargePages(large: boolean): void
  /** Page sizes that all domains share. */
  pgsizes(): bigint
  /** @throws EINVAL, EADDRINUSE, EFAULT, ENOMEM */
  addDomain(domain: NativePagingDomain): void
  removeDomain(domain: NativePagingDomain): void
  /** Whether everything mapped is files' memory. */
  isAllFiles(): boolean
  /** Has a process pay for everything. @throws ENOMEM */
  changeProcess(mm: NativeAddressSpace, chargeProcess: boolean): void
  /** Host memory behind an address, and how much is contiguous. @throws ENOENT */
  physical(iova: bigint, length: bigint): { host: bigint; length: bigint }
  /** @throws EOPNOTSUPP */
  setDirtyTracking(domain: NativePagingDomain, enable: boolean): void
  /** Sets bits in a bitmap of a process. @throws EOPNOTSUPP, EOVERFLOW, EINVAL */
  dirtyBitmapTo(
    domain: NativePagingDomain,
    request: NativeDirtyRequest,
    target: { mm: NativeAddressSpace; address: bigint },
  ): void
  /** Gives the bits in `size` bytes. @throws EOPNOTSUPP, EOVERFLOW, EINVAL */
  dirtyBitmap(domain: NativePagingDomain, request: NativeDirtyRequest, size: number): Uint8Array
  /** Marks bytes as written. */
  markDirty(domain: NativePagingDomain, iova: bigint, length: bigint): void
  /** Whether written pages are being told of. */
  isTracking(domain: NativePagingDomain): boolean
  /** Compares what a domain maps with memory of a process. @throws EINVAL, EFAULT */
  checkMap(
    domain: NativePagingDomain,
    range: { iova: bigint; length: bigint },
    mm: NativeAddressSpace,
    address: bigint,
  ): void
  /** Names what pins the page of a process at an address; spaces that share pages name the same. */
  pinners(mm: NativeAddressSpace, address: bigint): bigint[]
  /** Number of areas. */
  areas(): number
}

/** What software reaches of an address space. */
export interface NativeIoasAccess {
  /** Attaches to a space, or to none. @throws EADDRINUSE, EBUSY */
  attach(ioas: NativeIoas | undefined): void
  /** @throws EINVAL, EOVERFLOW, ENOENT, EPERM, EFAULT */
  read(iova: bigint, length: number): Uint8Array
  /** @throws as `read` */
  write(iova: bigint, from: Uint8Array): void
  /** Pins pages; with `expected`, only those that a process has there. @throws as `read`, and ENOMEM */
  pin(iova: bigint, length: bigint, write: boolean, expected?: { mm: NativeAddressSpace; address: bigint }): void
  unpin(iova: bigint, length: bigint): void
}

/** What an attachment tells of what it is refused. */
export interface NativeReporting {
  /** Id of the device within the iommufd. */
  device: number
  /** Where missing pages are asked for. */
  requests?: NativePageRequests | undefined
  /** The device's virtual IOMMU, and its id there. */
  events?: { viommu: NativeVirtualIommu; virtId: bigint } | undefined
}

/** A device's view of memory, whatever it is attached to; PASID 0 is the device without one. */
export interface NativeDevicePort {
  attachDomain(pasid: number, domain: NativePagingDomain, ioas: NativeIoas, reporting: NativeReporting): void
  attachNested(pasid: number, table: NativeNestedTable, reporting: NativeReporting): void
  attachAccess(access: NativeIoasAccess): void
  /** Leads nowhere: accesses that wait for their pages fail. */
  detach(pasid: number): void
  /** Makes the device known to a virtual IOMMU by a number, or unknown. */
  join(viommu: NativeVirtualIommu, virtId: bigint, known: boolean): void
  dma(): NativeDma
}

/** What the addon has for iommufd. */
export interface NativeIommufd {
  readonly Ioas: new () => NativeIoas
  readonly PagingDomain: new (options: NativeDomainOptions) => NativePagingDomain
  /** `onUnmap` is asked to unpin a range. */
  readonly IoasAccess: new (mayPin: boolean, onUnmap?: (iova: bigint, length: bigint) => void) => NativeIoasAccess
  /** Refused DMA goes to `faults`. */
  readonly DevicePort: new (name: string, faults: NativeFaultLog) => NativeDevicePort
  /** @throws EINVAL */
  readonly NestedTable: new (
    options: { root: bigint; levels: number; accessedDirty: boolean },
    parent: NativePagingDomain,
    ioas: NativeIoas,
  ) => NativeNestedTable
  /** Signals `event`, a native event counter, when there is something to read. */
  readonly PageRequests: new (event: object) => NativePageRequests
  /** Signals `event`, a native event counter, when there is something to read. */
  readonly EventQueue: new (depth: number, event: object) => NativeEventQueue
  readonly VirtualIommu: new (parent: NativePagingDomain, ioas: NativeIoas) => NativeVirtualIommu
  /** @throws EINVAL, ENOENT, EFAULT, ENOMEM */
  readonly CommandQueue: new (
    viommu: NativeVirtualIommu,
    index: number,
    base: bigint,
    length: bigint,
  ) => NativeCommandQueue
  /** Makes a log of refused DMA. */
  faultLog(): NativeFaultLog
}
