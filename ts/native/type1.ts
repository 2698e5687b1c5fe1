/** Native type1 IOMMUs as callers see them. */
import { invalidArgType, invalidArgValue } from '../errors.ts'
import { flag, text, u32, u64, type U64 } from '../shape.ts'
import { AddressSpaceHandle } from './address-space.ts'
import type {
  NativeAddressSpace,
  NativeBitmap,
  NativeDma,
  NativeFaultLog,
  NativeGeometry,
  NativeType1,
  NativeType1Info,
} from './addon.ts'
import type { Binding, BindingType1 } from './binding.ts'
import { DmaHandle } from './dma.ts'
import { FaultLogHandle } from './fault-log.ts'
import { status } from './syscall.ts'

const UNMAP = 'VFIO_IOMMU_UNMAP_DMA'
const DIRTY = 'VFIO_IOMMU_DIRTY_PAGES'

/** The one implementation of {@link NativeType1}. */
export class Type1Handle implements NativeType1 {
  readonly #raw: Binding
  readonly #owner: BindingType1
  #handle: number

  constructor(raw: Binding, v2: boolean, entryLimit: number) {
    this.#raw = raw
    this.#owner = new raw.NativeType1(flag(v2, 'v2', false), u32(entryLimit, 'entryLimit'))
    this.#handle = this.#owner.handle
  }

  attachHw(group: number, geometry: NativeGeometry): void {
    const { pgsizes, apertureStart, apertureLast, reserved, cacheCoherency } = geometry
    this.#owner.attachHw(u32(group, 'group'), {
      pgsizes: u64(pgsizes, 'geometry.pgsizes'),
      apertureStart: u64(apertureStart, 'geometry.apertureStart'),
      apertureLast: u64(apertureLast, 'geometry.apertureLast'),
      reserved: [...reserved],
      cacheCoherency: flag(cacheCoherency, 'geometry.cacheCoherency', false),
    })
  }

  attachEmulated(group: number): void {
    this.#owner.attachEmulated(u32(group, 'group'))
  }

  detach(group: number): void {
    this.#owner.detach(u32(group, 'group'))
  }

  mapDma(mm: NativeAddressSpace, flags: number, vaddr: U64, iova: U64, size: U64): number {
    return this.#raw.type1MapDma(this.#handle, AddressSpaceHandle.handleOf(mm, 'mm'), flags, vaddr, iova, size)
  }

  unmapDma(mm: NativeAddressSpace, flags: number, iova: U64, size: U64, bitmap?: NativeBitmap): bigint {
    AddressSpaceHandle.handleOf(mm, 'mm')
    return status(this.#unmap(flags, iova, size, bitmap), UNMAP)
  }

  mapDmaBatch(mm: NativeAddressSpace, flags: number, triples: BigUint64Array, failure?: Int32Array): number {
    const handle = AddressSpaceHandle.handleOf(mm, 'mm')
    return this.#raw.type1MapDmaBatch(this.#handle, handle, flags, triples, failure)
  }

  unmapDmaBatch(mm: NativeAddressSpace, flags: number, pairs: BigUint64Array, failure?: Int32Array): number {
    AddressSpaceHandle.handleOf(mm, 'mm')
    return this.#raw.type1UnmapDmaBatch(this.#handle, flags, pairs, failure)
  }

  dirtyStart(): void {
    this.#owner.dirtyStart()
  }

  dirtyStop(): void {
    this.#owner.dirtyStop()
  }

  dirtyGetBitmap(iova: U64, size: U64, bitmap: NativeBitmap): void {
    const { pageSize, size: length, target } = bitmap
    const done =
      target instanceof Uint8Array
        ? this.#raw.type1DirtyInto(this.#handle, iova, size, pageSize, length, target)
        : this.#raw.type1DirtyTo(this.#handle, iova, size, pageSize, length, mmOf(target), target.address)
    status(done, DIRTY)
  }

  info(): NativeType1Info {
    return this.#owner.info()
  }

  checkExtension(extension: number): number {
    return this.#owner.checkExtension(u32(extension, 'extension'))
  }

  openDevice(
    group: number,
    name: string,
    kind: 'iommu' | 'emulated',
    onUnmap?: (iova: bigint, length: bigint) => void,
  ): NativeDma {
    u32(group, 'group')
    if (kind !== 'iommu' && kind !== 'emulated') throw invalidArgValue('kind', `must be 'iommu' or 'emulated'`)
    if (onUnmap !== undefined && typeof onUnmap !== 'function') throw invalidArgType('onUnmap', 'a function', onUnmap)
    return new DmaHandle(this.#raw, this.#owner.openDevice(text(name, 'name'), kind === 'emulated', onUnmap))
  }

  closeDevice(dma: NativeDma): void {
    DmaHandle.close(dma, 'dma')
  }

  faults(): NativeFaultLog {
    return new FaultLogHandle(this.#owner.faults())
  }

  mappings(): number {
    return this.#owner.mappings()
  }

  share(mm: NativeAddressSpace): bigint {
    return this.#raw.NativeDomain.leave(this.#handle, AddressSpaceHandle.handleOf(mm, 'mm'))
  }

  close(): void {
    this.#handle = 0
    this.#owner.close()
  }

  #unmap(flags: number, iova: U64, size: U64, bitmap: NativeBitmap | undefined): bigint {
    if (bitmap === undefined) return this.#raw.type1UnmapDma(this.#handle, flags, iova, size)
    const { pageSize, size: length, target } = bitmap
    if (target instanceof Uint8Array) {
      return this.#raw.type1UnmapDmaInto(this.#handle, flags, iova, size, pageSize, length, target)
    }
    const mm = mmOf(target)
    return this.#raw.type1UnmapDmaTo(this.#handle, flags, iova, size, pageSize, length, mm, target.address)
  }
}

function mmOf(target: { mm: NativeAddressSpace }): number {
  return AddressSpaceHandle.handleOf(target?.mm, 'bitmap.target.mm')
}
