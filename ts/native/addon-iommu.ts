/** The part of the addon that is IOMMU: mappings, what devices see of memory, and refused DMA. See `addon.ts` for its manners. */
import type { U64 } from '../shape.ts'
import type { NativeAddressSpace, NativeStatus, NativeStatus64, NativeMemory } from './addon-memory.ts'

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
  /** A number by which another Worker of this process maps as well, as `mm` ({@link NativeDomainClass.adopt}). */
  share(mm: NativeAddressSpace): bigint
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
  /** Promise forms, which reach memory by message too; they reject with the codes of {@link read} and {@link write}, or ECANCELED. */
  submitRead(iova: U64, length: number): Promise<Uint8Array>
  submitWrite(iova: U64, from: Uint8Array): Promise<void>
  /** What the device sees by a PASID. @throws EOPNOTSUPP there are none, EINVAL, ENODEV */
  withPasid(pasid: number): NativeDma
  /** A number by which another Worker of this process gets the same view ({@link NativeDmaClass.adopt}). */
  share(): bigint
}

/** Gives views of memory to other Workers. */
export interface NativeDmaClass {
  /** Takes what `share()` gave, once per share. @throws EBADF unknown or already taken */
  adopt(token: bigint): NativeDma
}

/** The mappings of a container that another Worker owns. */
export interface NativeDomain {
  /** Maps from addresses of the process; see {@link NativeType1.mapDma}. */
  mapDma(flags: number, vaddr: bigint, iova: U64, size: U64): NativeStatus
  /** See {@link NativeType1.unmapDma}. */
  unmapDma(flags: number, iova: U64, size: U64): bigint
  /** See {@link NativeType1.mapDmaBatch}. */
  mapDmaBatch(flags: number, triples: BigUint64Array, failure?: Int32Array): number
  /** See {@link NativeType1.unmapDmaBatch}. */
  unmapDmaBatch(flags: number, pairs: BigUint64Array, failure?: Int32Array): number
  /** Number of mappings. */
  mappings(): number
  /** Gives memory an address in the process that maps. @throws ENOMEM, EBADF */
  place(memory: NativeMemory): bigint
  /** Takes it out of there again. @throws EINVAL */
  displace(address: bigint, length: bigint): void
  /** Lets it go (idempotent); the mappings stay. */
  close(): void
}

/** Gives mappings to other Workers. */
export interface NativeDomainClass {
  /** Takes what `NativeType1.share()` gave, once per share. @throws EBADF unknown or already taken */
  adopt(token: bigint): NativeDomain
}

/** Why a DMA was refused. */
export type NativeFaultReason =
  | 'no-mapping'
  | 'permission'
  | 'outside-window'
  | 'detached'
  | 'misaligned'
  | 'frozen'
  | 'bus-master-off'
  | 'not-attached'
  | 'would-block'
  | 'out-of-memory'
  | 'page-requested'
  | 'broken-table'
  | 'unbacked'

/** A refused DMA. */
export interface NativeFault {
  /** Number of the fault since the log began, from 1. */
  sequence: bigint
  device: string
  iova: bigint
  length: bigint
  access: 'read' | 'write'
  reason: NativeFaultReason
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
