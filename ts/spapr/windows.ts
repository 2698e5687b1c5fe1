/** The windows of a container: two slots, the default one made at first use, and what their tables are charged with. */
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { SpaprPlatform } from './platform.ts'
import type { TableGroup } from './table-group.ts'
import { contains, type Window, type WindowRequest } from './window.ts'

const CREATE = 'VFIO_IOMMU_SPAPR_TCE_CREATE'
const REMOVE = 'VFIO_IOMMU_SPAPR_TCE_REMOVE'
const SLOTS = 2
const DEFAULT_SHIFT = 12

/** The windows of one container, set in each of its groups. */
export class Windows {
  readonly #platform: SpaprPlatform
  readonly #registered: boolean
  /** Newest first, as the kernel has them. */
  readonly #groups: readonly TableGroup[]
  readonly #mm: () => NativeAddressSpace
  readonly #windows: (Window | undefined)[] = Array.from({ length: SLOTS }, () => undefined)
  #defaultPending = false

  constructor(
    platform: SpaprPlatform,
    registered: boolean,
    groups: readonly TableGroup[],
    mm: () => NativeAddressSpace,
  ) {
    this.#platform = platform
    this.#registered = registered
    this.#groups = groups
    this.#mm = mm
  }

  /** The windows that there are, by slot. */
  get all(): readonly Window[] {
    return this.#windows.filter((window) => window !== undefined)
  }

  /** Whether the default window will be made at first use. */
  get defaultPending(): boolean {
    return this.#defaultPending
  }

  /** The first group has come. */
  expectDefault(): void {
    if (this.#windows[0] === undefined) this.#defaultPending = true
  }

  /** Makes the default window if that is still to be done. @throws {VfioError} as {@link create}; it stays to be done */
  ensureDefault(): void {
    if (!this.#defaultPending) return
    this.#make({ pageShift: DEFAULT_SHIFT, size: this.#platform.settings.dma32Size, levels: 1 })
    this.#defaultPending = false
  }

  /** The window that contains an address. @throws {VfioError} ENXIO none does */
  at(iova: bigint, operation: string): Window {
    const window = this.#find(iova)
    if (window) return window
    const there = this.all.map(({ start, entries, pageShift }) => {
      const last = start + (entries << BigInt(pageShift)) - 1n
      return `0x${start.toString(16)}-0x${last.toString(16)}`
    })
    throw new VfioError('ENXIO', operation, {
      address: iova,
      reason: 'no window contains the address',
      remedy: there.length === 0 ? 'create a window' : `map within ${there.join(', ')}`,
    })
  }

  /**
   * Creates a window in the lowest free slot, in every group; returns its first address.
   * @throws {VfioError} ENOSPC both slots are taken, EINVAL page, size or levels, ENOMEM, ENODEV, EPERM
   */
  create(request: WindowRequest): bigint {
    this.ensureDefault()
    return this.#make(request).start
  }

  /** Removes the window that contains `address`, or the default one that is still to be made. @throws {VfioError} EINVAL */
  remove(address: bigint): void {
    if (this.#defaultPending && address === 0n) {
      this.#defaultPending = false
      return
    }
    const window = this.#find(address)
    if (!window) throw new VfioError('EINVAL', REMOVE, { address, reason: 'no window contains the address' })
    window.table.clear()
    for (const group of this.#groups) group.unset(window.slot)
    this.#free(window)
  }

  /** Sets all windows in a group that joins. @throws {VfioError} EPERM; none is set then */
  join(group: TableGroup): void {
    try {
      for (const window of this.all) this.#platform.setWindow(group, window)
    } catch (error) {
      this.leave(group)
      throw error
    }
  }

  /** A group leaves: every entry is cleared, also for the groups that stay. */
  leave(group: TableGroup): void {
    for (const window of this.all) group.unset(window.slot)
  }

  /** Clears every entry of every window. */
  clear(): void {
    for (const window of this.all) window.table.clear()
  }

  /** Frees all tables: the last group has left. */
  release(): void {
    for (const window of this.all) this.#free(window)
    this.#defaultPending = false
  }

  #find(iova: bigint): Window | undefined {
    return this.all.find((window) => contains(window, iova))
  }

  #make(request: WindowRequest): Window {
    const { settings } = this.#platform
    const [owner] = this.#groups
    if (owner === undefined) throw new VfioError('ENODEV', CREATE, { reason: 'the container has no group' })
    const slot = this.#windows.indexOf(undefined)
    if (slot < 0) throw new VfioError('ENOSPC', CREATE, { reason: 'both windows are taken', remedy: 'remove one' })
    const { pageShift } = request
    if (pageShift > 63 || (settings.pageSizes & (1n << BigInt(pageShift))) === 0n) {
      throw new VfioError('EINVAL', CREATE, {
        reason: `pages of 2^${pageShift} bytes are not among 0x${settings.pageSizes.toString(16)}`,
      })
    }
    const bytes = this.#platform.tableBytes(request)
    if (bytes === 0n) {
      throw new VfioError('EINVAL', CREATE, {
        reason: `there is no table of ${request.levels} levels for ${request.size} bytes of 2^${pageShift} pages`,
        remedy: `give a size that is a power of two and 1 to ${settings.levels} levels`,
      })
    }
    const charge = bytes / settings.pageSize
    if (this.#mm().charge(charge) < 0) {
      throw new VfioError('ENOMEM', CREATE, {
        reason: `${charge} locked pages for the table are over the process's limit`,
        remedy: 'raise its memlock limit or give it CAP_IPC_LOCK',
      })
    }
    const window = this.#allocate(owner, slot, request, charge)
    try {
      for (const group of this.#groups) this.#platform.setWindow(group, window)
    } catch (error) {
      for (const group of this.#groups) group.unset(slot)
      window.table.close()
      this.#mm().uncharge(charge)
      throw error
    }
    this.#windows[slot] = window
    return window
  }

  #allocate(owner: TableGroup, slot: number, request: WindowRequest, charge: bigint): Window {
    const { pageShift } = request
    try {
      const { start, entries, levelBits, wide } = this.#platform.planTable(owner, slot, request)
      const { writeImpliesRead } = this.#platform
      const geometry = { start, pageShift, entries, levelBits, registered: this.#registered, writeImpliesRead }
      const table = syscall(CREATE, () => new (addon().NativeTceTable)(this.#mm(), geometry))
      return { slot, start, pageShift, entries, table, charge, owner, wide }
    } catch (error) {
      // The kernel forgets to give the charge back.
      if (!this.#platform.settings.leaks) this.#mm().uncharge(charge)
      throw error
    }
  }

  #free(window: Window): void {
    this.#windows[window.slot] = undefined
    window.table.close()
    this.#mm().uncharge(window.charge)
  }
}
