/** Native address spaces of iommufd, and their page tables, as callers see them. */
import { invalidArgType } from '../errors.ts'
import type {
  NativeDirtyRequest,
  NativeDomainOptions,
  NativeIoas,
  NativeIoasMapping,
  NativeIovaRange,
  NativePagingDomain,
  NativeUnmapped,
} from './addon-iommufd.ts'
import type { NativeAddressSpace, NativeMemory } from './addon-memory.ts'
import { AddressSpaceHandle } from './address-space.ts'
import type { BindingIoas, BindingIoasMapping, BindingPagingDomain, IommufdBinding } from './binding-iommufd.ts'
import { MemoryHandle } from './memory.ts'

/** The one implementation of {@link NativePagingDomain}. */
export class PagingDomainHandle implements NativePagingDomain {
  readonly pgsizes: bigint
  readonly #owner: BindingPagingDomain

  constructor(raw: IommufdBinding, options: NativeDomainOptions) {
    const { mirror = false, pgsizes, apertureStart, apertureLast, tracksDirty = false } = options
    this.pgsizes = pgsizes
    this.#owner = new raw.NativePagingDomain(mirror, pgsizes, apertureStart, apertureLast, tracksDirty)
  }

  /** The owner behind `domain`. @throws {TypeError} it is not ours */
  static ownerOf(domain: unknown): BindingPagingDomain {
    if (typeof domain !== 'object' || domain === null || !(#owner in domain)) {
      throw invalidArgType('domain', 'a native page table', domain)
    }
    return domain.#owner
  }
}

/** The one implementation of {@link NativeIoas}. */
export class IoasHandle implements NativeIoas {
  readonly #owner: BindingIoas

  constructor(raw: IommufdBinding) {
    this.#owner = new raw.NativeIoas()
  }

  /** The owner behind `ioas`. @throws {TypeError} it is not ours */
  static ownerOf(ioas: unknown): BindingIoas {
    if (typeof ioas !== 'object' || ioas === null || !(#owner in ioas)) {
      throw invalidArgType('ioas', 'a native address space', ioas)
    }
    return ioas.#owner
  }

  map(mapping: NativeIoasMapping, address: bigint): bigint {
    return this.#owner.map(mappingOf(mapping), address)
  }

  mapFile(mapping: NativeIoasMapping, memory: NativeMemory | undefined, start: bigint): bigint {
    const handle = memory === undefined ? undefined : MemoryHandle.handleOf(memory, 'memory')
    return this.#owner.mapFile(mappingOf(mapping), handle, start)
  }

  copyFrom(
    source: NativeIoas,
    range: { iova: bigint; length: bigint },
    at: bigint | undefined,
    access: { read: boolean; write: boolean },
  ): bigint {
    return this.#owner.copyFrom(IoasHandle.ownerOf(source), range.iova, range.length, at, prot(access))
  }

  unmap(iova: bigint, length: bigint): NativeUnmapped {
    return this.#owner.unmap(iova, length)
  }

  unmapAll(): NativeUnmapped {
    return this.#owner.unmapAll()
  }

  cut(iova: bigint, length: bigint): void {
    this.#owner.cut(iova, length)
  }

  usable(): NativeIovaRange[] {
    const pairs = this.#owner.usable()
    return Array.from({ length: pairs.length / 2 }, (_, i) => ({
      start: pairs[i * 2] ?? 0n,
      last: pairs[i * 2 + 1] ?? 0n,
    }))
  }

  alignment(): bigint {
    return this.#owner.alignment()
  }

  allow(ranges: readonly NativeIovaRange[]): void {
    this.#owner.allow(pairsOf(ranges))
  }

  reserve(ranges: readonly NativeIovaRange[], device?: number): void {
    this.#owner.reserve(pairsOf(ranges), device)
  }

  unreserve(device: number): void {
    this.#owner.unreserve(device)
  }

  largePages(): boolean {
    return this.#owner.largePages()
  }

  setLargePages(large: boolean): void {
    this.#owner.setLargePages(large)
  }

  pgsizes(): bigint {
    return this.#owner.pgsizes()
  }

  addDomain(domain: NativePagingDomain): void {
    this.#owner.addDomain(PagingDomainHandle.ownerOf(domain))
  }

  removeDomain(domain: NativePagingDomain): void {
    this.#owner.removeDomain(PagingDomainHandle.ownerOf(domain))
  }

  isAllFiles(): boolean {
    return this.#owner.isAllFiles()
  }

  changeProcess(mm: NativeAddressSpace, chargeProcess: boolean): void {
    this.#owner.changeProcess(AddressSpaceHandle.handleOf(mm, 'mm'), chargeProcess)
  }

  physical(iova: bigint, length: bigint): { host: bigint; length: bigint } {
    const [host = 0n, contiguous = 0n] = this.#owner.physical(iova, length)
    return { host, length: contiguous }
  }

  setDirtyTracking(domain: NativePagingDomain, enable: boolean): void {
    this.#owner.setDirtyTracking(PagingDomainHandle.ownerOf(domain), enable)
  }

  dirtyBitmapTo(
    domain: NativePagingDomain,
    { iova, length, pageSize, clear }: NativeDirtyRequest,
    target: { mm: NativeAddressSpace; address: bigint },
  ): void {
    const owner = PagingDomainHandle.ownerOf(domain)
    const mm = AddressSpaceHandle.handleOf(target.mm, 'target.mm')
    this.#owner.dirtyBitmapTo(owner, iova, length, pageSize, clear, mm, target.address)
  }

  dirtyBitmap(
    domain: NativePagingDomain,
    { iova, length, pageSize, clear }: NativeDirtyRequest,
    size: number,
  ): Uint8Array {
    return this.#owner.dirtyBitmap(PagingDomainHandle.ownerOf(domain), iova, length, pageSize, clear, size)
  }

  markDirty(domain: NativePagingDomain, iova: bigint, length: bigint): void {
    this.#owner.markDirty(PagingDomainHandle.ownerOf(domain), iova, length)
  }

  isTracking(domain: NativePagingDomain): boolean {
    return this.#owner.isTracking(PagingDomainHandle.ownerOf(domain))
  }

  checkMap(
    domain: NativePagingDomain,
    range: { iova: bigint; length: bigint },
    mm: NativeAddressSpace,
    address: bigint,
  ): void {
    const owner = PagingDomainHandle.ownerOf(domain)
    this.#owner.checkMap(owner, range.iova, range.length, AddressSpaceHandle.handleOf(mm, 'mm'), address)
  }

  pinners(mm: NativeAddressSpace, address: bigint): bigint[] {
    return this.#owner.pinners(AddressSpaceHandle.handleOf(mm, 'mm'), address)
  }

  areas(): number {
    return this.#owner.areas()
  }
}

function mappingOf(mapping: NativeIoasMapping): BindingIoasMapping {
  const { mm, chargeProcess, length, iova } = mapping
  const handle = AddressSpaceHandle.handleOf(mm, 'mapping.mm')
  const made = { mm: handle, chargeProcess, prot: prot(mapping), length }
  return iova === undefined ? made : { ...made, iova }
}

function prot({ read, write }: { read: boolean; write: boolean }): number {
  return (read ? 1 : 0) | (write ? 2 : 0)
}

function pairsOf(ranges: readonly NativeIovaRange[]): bigint[] {
  return ranges.flatMap(({ start, last }) => [start, last])
}
