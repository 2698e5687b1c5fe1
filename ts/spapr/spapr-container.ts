/** The sPAPR IOMMU of one container, by values: what the typed container and the ioctls both call. */
import type { SpaprControl, SpaprInfo, SpaprWindow } from '../container/spapr-control.ts'
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import type { EehError } from './eeh-state.ts'
import type { SpaprPlatform } from './platform.ts'
import { Registrations } from './registrations.ts'
import type { TableGroup } from './table-group.ts'
import type { Window, WindowRequest } from './window.ts'
import { Windows } from './windows.ts'

const MAP = 'VFIO_IOMMU_MAP_DMA'
const UNMAP = 'VFIO_IOMMU_UNMAP_DMA'
const ACCESS = 3

/** Who may do what when, and what it costs (`struct tce_container`). */
export class SpaprContainer implements SpaprControl {
  readonly version2: boolean
  readonly platform: SpaprPlatform
  readonly windows: Windows
  /** Newest first. */
  readonly groups: TableGroup[] = []
  #mm: NativeAddressSpace | undefined
  #registrations: Registrations | undefined
  #enabled = false
  #enableCharge = 0n

  constructor(platform: SpaprPlatform, version2: boolean) {
    this.platform = platform
    this.version2 = version2
    this.windows = new Windows(platform, version2, this.groups, () => this.#bound())
  }

  /** Whether it may map. */
  get enabled(): boolean {
    return this.#enabled
  }

  /** Whether a process uses it. */
  get bound(): boolean {
    return this.#mm !== undefined
  }

  /** Refuses processes other than the one that uses it. @throws {VfioError} EPERM */
  checkProcess(mm: NativeAddressSpace, operation: string): void {
    if (this.#mm !== undefined && this.#mm !== mm) {
      throw new VfioError('EPERM', operation, { reason: 'another process uses the container' })
    }
  }

  /** Makes it the process's. @throws {VfioError} EPERM it is another's */
  bind(mm: NativeAddressSpace, operation: string): void {
    this.checkProcess(mm, operation)
    this.#mm = mm
  }

  /** Refuses to map before it may. @throws {VfioError} EPERM */
  requireEnabled(operation: string): void {
    if (this.#enabled) return
    throw new VfioError('EPERM', operation, {
      reason: this.version2 ? 'no memory was registered yet' : 'the container is not enabled',
      remedy: this.version2 ? 'register memory first' : 'enable it (VFIO_IOMMU_ENABLE)',
    })
  }

  info(): SpaprInfo {
    const { dma32Start, dma32Size, pageSizes, windows, levels } = this.platform.settings
    const dynamic = { pageSizes, maxWindows: windows, levels }
    return { dma32Start, dma32Size, ...(this.version2 && windows !== 0 ? { dynamic } : {}) }
  }

  /** `VFIO_IOMMU_ENABLE`. @throws {VfioError} ENOTTY version 2, EBUSY, EPERM, ENOMEM over the limit */
  enable(mm: NativeAddressSpace): void {
    const operation = 'VFIO_IOMMU_ENABLE'
    this.checkProcess(mm, operation)
    this.#requireVersion(1, operation)
    if (this.#enabled) throw new VfioError('EBUSY', operation, { reason: 'the container is enabled' })
    const { dma32Size, pageSize } = this.platform.settings
    if (dma32Size === 0n) throw new VfioError('EPERM', operation, { reason: 'the group has no 32-bit window' })
    this.bind(mm, operation)
    const pages = dma32Size / pageSize
    if (mm.charge(pages) < 0) {
      throw new VfioError('ENOMEM', operation, {
        reason: `${pages} locked pages for the whole 32-bit window are over the process's limit`,
        remedy: 'raise its memlock limit or give it CAP_IPC_LOCK',
      })
    }
    this.#enableCharge = pages
    this.#enabled = true
  }

  /** `VFIO_IOMMU_DISABLE`; entries stay. @throws {VfioError} ENOTTY version 2 */
  disable(mm: NativeAddressSpace): void {
    const operation = 'VFIO_IOMMU_DISABLE'
    this.checkProcess(mm, operation)
    this.#requireVersion(1, operation)
    this.#disable()
  }

  /** Maps; 0, or 1 as the kernel answers where `iova` is no multiple of the window's page. @throws {VfioError} */
  map(mm: NativeAddressSpace, flags: number, vaddr: bigint, iova: bigint, size: bigint): number {
    this.checkProcess(mm, MAP)
    this.requireEnabled(MAP)
    if ((flags & ~ACCESS) !== 0) throw new VfioError('EINVAL', MAP, { address: iova, reason: 'an unknown flag' })
    this.windows.ensureDefault()
    const window = this.windows.at(iova, MAP)
    const page = pageOf(window)
    if (((size | vaddr) & (page - 1n)) !== 0n) {
      throw new VfioError('EINVAL', MAP, { address: iova, reason: `address and size must be multiples of ${page}` })
    }
    if (flags === 0) {
      throw new VfioError('EINVAL', MAP, { address: iova, reason: 'devices may neither read nor write' })
    }
    if ((iova & (page - 1n)) !== 0n) return 1
    const done = window.table.map(iova, vaddr, size >> BigInt(window.pageShift), flags)
    if (done < 0) throw this.#mapError(done, iova, page)
    return 0
  }

  /** Unmaps; 0, or 1 as the kernel answers where the range is unaligned or not inside the window. @throws {VfioError} */
  unmap(mm: NativeAddressSpace, flags: number, iova: bigint, size: bigint): number {
    this.checkProcess(mm, UNMAP)
    this.requireEnabled(UNMAP)
    if (flags !== 0) throw new VfioError('EINVAL', UNMAP, { address: iova, reason: 'no flag is known' })
    this.windows.ensureDefault()
    const window = this.windows.at(iova, UNMAP)
    const page = pageOf(window)
    if ((size & (page - 1n)) !== 0n) {
      throw new VfioError('EINVAL', UNMAP, { address: iova, reason: `the size must be a multiple of ${page}` })
    }
    const end = window.start + (window.entries << BigInt(window.pageShift))
    if ((iova & (page - 1n)) !== 0n || iova + size > end) return 1
    const done = window.table.unmap(iova, size >> BigInt(window.pageShift))
    if (done < 0) throw VfioError.fromStatus(done, UNMAP, { address: iova })
    return 0
  }

  registerMemory(mm: NativeAddressSpace, vaddr: bigint, size: bigint): number {
    const operation = 'VFIO_IOMMU_SPAPR_REGISTER_MEMORY'
    this.#requireVersion(2, operation)
    this.bind(mm, operation)
    const partial = this.#registered(mm).register(vaddr, size)
    if (partial === 0) this.#enabled = true
    return partial
  }

  unregisterMemory(mm: NativeAddressSpace, vaddr: bigint, size: bigint): void {
    const operation = 'VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY'
    this.checkProcess(mm, operation)
    this.#requireVersion(2, operation)
    this.requireBound(operation)
    this.#registered(mm).unregister(vaddr, size)
  }

  /** Refuses where no process uses the container yet. @throws {VfioError} EPERM */
  requireBound(operation: string): void {
    if (!this.bound) throw new VfioError('EPERM', operation, { reason: 'no process uses the container yet' })
  }

  createWindow(mm: NativeAddressSpace, request: WindowRequest): bigint {
    const operation = 'VFIO_IOMMU_SPAPR_TCE_CREATE'
    this.#requireVersion(2, operation)
    this.bind(mm, operation)
    return this.windows.create(request)
  }

  removeWindow(mm: NativeAddressSpace, start: bigint): void {
    const operation = 'VFIO_IOMMU_SPAPR_TCE_REMOVE'
    this.#requireVersion(2, operation)
    this.bind(mm, operation)
    this.windows.remove(start)
  }

  listWindows(): SpaprWindow[] {
    return this.windows.all.map(({ start, pageShift, entries, table }) => ({
      start,
      pageShift,
      size: entries << BigInt(pageShift),
      entry: (iova) => table.entry(iova) ?? 0n,
    }))
  }

  /** Refuses where a group has no error handling. @throws {VfioError} ENODEV */
  requireEeh(): void {
    const without = this.groups.find((group) => group.eeh === undefined)
    if (without === undefined) return
    throw new VfioError('ENODEV', 'VFIO_EEH_PE_OP', { reason: `${without.name} has no error handling on this machine` })
  }

  /** Does an EEH operation on each group until one refuses or has something to say. @throws {VfioError} ENODEV no EEH, and more */
  eeh(mm: NativeAddressSpace, op: number, error?: () => EehError): number {
    this.checkProcess(mm, 'VFIO_EEH_PE_OP')
    this.requireEeh()
    for (const { eeh } of this.groups) {
      const result = eeh?.operate(op, error) ?? 0
      if (result !== 0) return result
    }
    return 0
  }

  /** The last group has left: everything is given back. */
  release(): void {
    this.windows.release()
    this.#registrations?.release()
    this.#disable()
  }

  #disable(): void {
    if (this.#enableCharge > 0n) this.#mm?.uncharge(this.#enableCharge)
    this.#enableCharge = 0n
    this.#enabled = false
  }

  #bound(): NativeAddressSpace {
    if (this.#mm === undefined) throw new VfioError('EPERM', 'VFIO_IOMMU_SPAPR_TCE_CREATE')
    return this.#mm
  }

  #registered(mm: NativeAddressSpace): Registrations {
    const { pageSize, leaks } = this.platform.settings
    this.#registrations ??= new Registrations(new (addon().NativeRegisteredMemory)(mm), pageSize, leaks)
    return this.#registrations
  }

  #requireVersion(version: 1 | 2, operation: string): void {
    if ((version === 2) === this.version2) return
    throw new VfioError('ENOTTY', operation, { reason: `that is for version ${version} of the sPAPR IOMMU` })
  }

  #mapError(status: number, iova: bigint, page: bigint): VfioError {
    const error = VfioError.fromStatus(status, MAP)
    const reason =
      error.code === 'EINVAL' && this.version2
        ? `each page of ${page} bytes must lie in one registered range, made of pages at least as large, and the range in the window`
        : error.code === 'EPERM'
          ? `the memory's own pages are smaller than the window's ${page} bytes`
          : 'the memory is gone or may not be written'
    return new VfioError(error.code, MAP, { address: iova, reason })
  }
}

function pageOf(window: Window): bigint {
  return 1n << BigInt(window.pageShift)
}
