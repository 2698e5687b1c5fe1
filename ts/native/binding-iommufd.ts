/** What the `.node` file exports for iommufd. See `binding.ts`; ranges cross as pairs of first and last address. */
import type { Binding, BindingDma, BindingFaultLog } from './binding.ts'

/** A mapping; `mm` is a handle. */
export interface BindingIoasMapping {
  mm: number
  chargeProcess: boolean
  prot: number
  length: bigint
  iova?: bigint
}

/** What an unmap came to. */
export interface BindingUnmapped {
  bytes: bigint
  status: number
}

/** Owner of a page table. */
export type BindingPagingDomain = object

/** Owner of an address space. */
export interface BindingIoas {
  map(mapping: BindingIoasMapping, address: bigint): bigint
  mapFile(mapping: BindingIoasMapping, memory: number | undefined, start: bigint): bigint
  copyFrom(source: BindingIoas, iova: bigint, length: bigint, at: bigint | undefined, prot: number): bigint
  unmap(iova: bigint, length: bigint): BindingUnmapped
  unmapAll(): BindingUnmapped
  cut(iova: bigint, length: bigint): void
  usable(): bigint[]
  alignment(): bigint
  allow(pairs: bigint[]): void
  reserve(pairs: bigint[], device: number | undefined): void
  unreserve(device: number): void
  largePages(): boolean
  setLargePages(large: boolean): void
  pgsizes(): bigint
  addDomain(domain: BindingPagingDomain): void
  removeDomain(domain: BindingPagingDomain): void
  isAllFiles(): boolean
  changeProcess(mm: number, chargeProcess: boolean): void
  physical(iova: bigint, length: bigint): bigint[]
  setDirtyTracking(domain: BindingPagingDomain, enable: boolean): void
  dirtyBitmapTo(
    domain: BindingPagingDomain,
    iova: bigint,
    length: bigint,
    pageSize: bigint,
    clear: boolean,
    mm: number,
    address: bigint,
  ): void
  dirtyBitmap(
    domain: BindingPagingDomain,
    iova: bigint,
    length: bigint,
    pageSize: bigint,
    clear: boolean,
    size: number,
  ): Uint8Array
  markDirty(domain: BindingPagingDomain, iova: bigint, length: bigint): void
  isTracking(domain: BindingPagingDomain): boolean
  checkMap(domain: BindingPagingDomain, iova: bigint, length: bigint, mm: number, address: bigint): void
  pinners(mm: number, address: bigint): bigint[]
  areas(): number
}

/** Owner of an access. */
export interface BindingIoasAccess {
  attach(ioas: BindingIoas | undefined): void
  read(iova: bigint, length: number): Uint8Array
  write(iova: bigint, from: Uint8Array): void
  pin(iova: bigint, length: bigint, write: boolean, mm: number, address: bigint | undefined): void
  unpin(iova: bigint, length: bigint): void
}

/** Owner of a guest's page table. */
export interface BindingNestedTable {
  invalidate(iova: bigint, npages: bigint): void
}

/** Owner of page requests. */
export interface BindingPageRequests {
  readable(): boolean
  read(room: number): Uint8Array
  answer(cookie: number, success: boolean): void
  report(device: number, pasid: number | undefined, number: number, perm: number, page: bigint): void
  close(): void
}

/** Owner of events. */
export interface BindingEventQueue {
  readable(): boolean
  read(room: number): Uint8Array
  report(data: Uint8Array): void
  close(): void
}

/** Owner of a guest's IOMMU. */
export interface BindingVirtualIommu {
  setEvents(queue: BindingEventQueue | undefined): void
  setDevice(virtId: bigint, port: BindingDevicePort | undefined): void
  addTable(table: BindingNestedTable): void
  execute(command: Uint8Array): number
}

/** Owner of a ring of commands. */
export interface BindingCommandQueue {
  ring(producer: number): void
  resume(): void
  status(): number[]
  close(): void
}

/** Owner of a port. */
export interface BindingDevicePort {
  attachDomain(
    pasid: number | undefined,
    domain: BindingPagingDomain,
    ioas: BindingIoas,
    device: number,
    requests: BindingPageRequests | undefined,
  ): void
  attachNested(
    pasid: number | undefined,
    table: BindingNestedTable,
    device: number,
    requests: BindingPageRequests | undefined,
    viommu: BindingVirtualIommu | undefined,
    virtId: bigint,
  ): void
  attachAccess(access: BindingIoasAccess): void
  detach(pasid: number | undefined): void
  dma(): BindingDma
}

/** Classes of iommufd. */
export interface BindingIommufdClasses {
  NativeIoas: new () => BindingIoas
  NativePagingDomain: new (
    mirror: boolean,
    pgsizes: bigint,
    apertureStart: bigint,
    apertureLast: bigint,
    tracksDirty: boolean,
  ) => BindingPagingDomain
  NativeIoasAccess: new (
    mayPin: boolean,
    onUnmap: ((iova: bigint, length: bigint) => void) | undefined,
  ) => BindingIoasAccess
  NativeNestedTable: new (
    root: bigint,
    levels: number,
    accessedDirty: boolean,
    parent: BindingPagingDomain,
    ioas: BindingIoas,
  ) => BindingNestedTable
  NativePageRequests: new (event: number) => BindingPageRequests
  NativeEventQueue: new (depth: number, event: number) => BindingEventQueue
  NativeVirtualIommu: new (parent: BindingPagingDomain, ioas: BindingIoas) => BindingVirtualIommu
  NativeCommandQueue: new (
    viommu: BindingVirtualIommu,
    index: number,
    base: bigint,
    length: bigint,
  ) => BindingCommandQueue
  NativeDevicePort: new (name: string, faults: BindingFaultLog) => BindingDevicePort
  NativeFaultLog: { create(): BindingFaultLog }
}

/** The exports with those of iommufd. */
export type IommufdBinding = Binding & BindingIommufdClasses
