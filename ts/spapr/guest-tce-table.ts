/**
 * A TCE table as a guest sees it (`KVM_CREATE_SPAPR_TCE_64`): what its hypercalls write, and the windows that follow it.
 *
 * The guest's entries hold guest addresses. Each update is kept, and carried into every window that the table is attached to,
 * where the guest's page is looked up in the process' registered memory. Hypercalls answer `H_*` numbers and never throw.
 */
import { VfioError } from '../errors.ts'
import type { GuestMemory } from './guest-memory.ts'
import type { TableGroup } from './table-group.ts'
import type { Window } from './window.ts'

/** Done. */
export const H_SUCCESS = 0
/** An argument makes no sense. */
export const H_PARAMETER = -4
/** The hypervisor leaves it to the process. */
export const H_TOO_HARD = 9999

/** Most entries of one hypercall. */
const MOST = 512
const RIGHTS = 3n

/** What a guest's table covers. */
export interface GuestTableGeometry {
  /** Base-two logarithm of its pages. */
  pageShift: number
  /** First bus address, a multiple of the page. */
  start: bigint
  /** Bytes, whole pages. */
  size: bigint
}

/** One table of a guest. */
export class GuestTceTable {
  readonly kind = 'spapr-tce-table'
  readonly geometry: GuestTableGeometry
  readonly #memory: GuestMemory
  readonly #entries = new Map<bigint, bigint>()
  readonly #attached = new Set<{ group: TableGroup; window: Window }>()

  /**
   * @throws {VfioError} EINVAL no whole pages
   * @internal
   */
  constructor(geometry: GuestTableGeometry, memory: GuestMemory) {
    const { pageShift, start, size } = geometry
    const page = 1n << BigInt(pageShift)
    if (pageShift < 12 || pageShift > 34 || size === 0n || ((start | size) & (page - 1n)) !== 0n) {
      throw new VfioError('EINVAL', 'KVM_CREATE_SPAPR_TCE_64', { reason: 'start and size must be whole pages' })
    }
    this.geometry = { pageShift, start, size }
    this.#memory = memory
  }

  /**
   * Lets a group's window follow the table (`KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE`); again is no error.
   * @throws {VfioError} EINVAL no window begins where the table does, is as large, and has pages as small
   * @internal
   */
  attach(group: TableGroup): void {
    const { pageShift, start, size } = this.geometry
    const window = group.windows.find(
      (other) =>
        other.pageShift <= pageShift && other.start === start && other.entries << BigInt(other.pageShift) >= size,
    )
    if (window === undefined) {
      throw new VfioError('EINVAL', 'KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE', {
        address: start,
        reason: `${group.name} has no window there that takes pages of 2^${pageShift} bytes`,
        remedy: 'create it first',
      })
    }
    if (![...this.#live()].some((other) => other.window === window)) this.#attached.add({ group, window })
  }

  /** How many windows follow it. */
  get followers(): number {
    return [...this.#live()].length
  }

  /** `H_GET_TCE`: the entry of a bus address, or undefined outside of the table. */
  get(ioba: bigint): bigint | undefined {
    return this.#inside(ioba, 1) ? (this.#entries.get(ioba) ?? 0n) : undefined
  }

  /** `H_PUT_TCE`: sets the entry of a bus address: a guest address with the rights in its lowest bits. */
  put(ioba: bigint, tce: bigint): number {
    return this.putIndirect(ioba, BigUint64Array.of(tce))
  }

  /** `H_PUT_TCE_INDIRECT`: sets up to 512 neighbouring entries; those before one that is refused stay set. */
  putIndirect(ioba: bigint, tces: BigUint64Array): number {
    if (tces.length > MOST || !this.#inside(ioba, tces.length)) return H_PARAMETER
    const user = new BigUint64Array(tces.length)
    for (const [i, tce] of tces.entries()) {
      const rights = tce & RIGHTS
      if ((tce & ~RIGHTS & (this.#page - 1n)) !== 0n) return H_PARAMETER
      if (rights === 0n) continue
      const vaddr = this.#memory.find(tce & ~RIGHTS)
      if (vaddr === undefined) return H_TOO_HARD
      user[i] = vaddr | rights
    }
    return this.#store(ioba, tces, user)
  }

  /** `H_STUFF_TCE`: sets up to 512 neighbouring entries to a value without rights. */
  stuff(ioba: bigint, tce: bigint, pages: number): number {
    if (pages < 0 || pages > MOST || !this.#inside(ioba, pages) || (tce & RIGHTS) !== 0n) return H_PARAMETER
    const tces = new BigUint64Array(pages).fill(tce)
    return this.#store(ioba, tces, new BigUint64Array(pages))
  }

  get #page(): bigint {
    return 1n << BigInt(this.geometry.pageShift)
  }

  #inside(ioba: bigint, pages: number): boolean {
    const { start, size } = this.geometry
    return (ioba & (this.#page - 1n)) === 0n && ioba >= start && ioba - start + BigInt(pages) * this.#page <= size
  }

  /** Carries entries to the windows, one native call each, and keeps those that all of them took. */
  #store(ioba: bigint, tces: BigUint64Array, user: BigUint64Array): number {
    let taken = tces.length
    for (const { window } of this.#live()) taken = Math.min(taken, this.#carry(window, ioba, user.subarray(0, taken)))
    for (let i = 0; i < taken; i++) this.#entries.set(ioba + BigInt(i) * this.#page, tces[i] ?? 0n)
    return taken === tces.length ? H_SUCCESS : H_TOO_HARD
  }

  /** Sets entries of a window, whose pages may be smaller; returns how many of the guest's were set. */
  #carry(window: Window, ioba: bigint, user: BigUint64Array): number {
    const parts = 1 << (this.geometry.pageShift - window.pageShift)
    const step = 1n << BigInt(window.pageShift)
    let entries = user
    if (parts > 1) {
      entries = new BigUint64Array(user.length * parts)
      for (const [i, entry] of user.entries()) {
        for (let part = 0; part < parts; part++) {
          entries[i * parts + part] = (entry & RIGHTS) === 0n ? 0n : entry + BigInt(part) * step
        }
      }
    }
    const done = window.table.mapList(ioba, entries)
    if (done < 0) return 0
    const whole = Math.floor(done / parts)
    // An entry that was set in part only is cleared.
    if (whole < user.length) window.table.unmap(ioba + BigInt(whole) * this.#page, parts)
    return whole
  }

  /** The windows that are still there. */
  *#live(): Generator<{ group: TableGroup; window: Window }> {
    for (const attached of this.#attached) {
      if (attached.group.windows.includes(attached.window)) yield attached
      else this.#attached.delete(attached)
    }
  }
}
