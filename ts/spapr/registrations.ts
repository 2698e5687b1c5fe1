/** The memory that a container has registered (version 2); regions themselves belong to the process. */
import { VfioError } from '../errors.ts'
import { syscall } from '../native/syscall.ts'
import type { NativeRegisteredMemory } from '../native/spapr-addon.ts'

const REGISTER = 'VFIO_IOMMU_SPAPR_REGISTER_MEMORY'
const UNREGISTER = 'VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY'
const END = 1n << 64n

/** Regions that one container holds. */
export class Registrations {
  readonly #memory: NativeRegisteredMemory
  readonly #pageSize: bigint
  readonly #keepsOrphans: boolean
  readonly #held = new Set<bigint>()

  constructor(memory: NativeRegisteredMemory, pageSize: bigint, keepsOrphans: boolean) {
    this.#memory = memory
    this.#pageSize = pageSize
    this.#keepsOrphans = keepsOrphans
  }

  /** How many regions the container holds. */
  get count(): number {
    return this.#held.size
  }

  /**
   * Registers a range, or takes part in a region that is there already. Returns 0, or how many pages were found where the end is
   * missing, as the kernel does: nothing is registered then.
   * @throws {VfioError} EINVAL not whole pages, wraps, or overlaps; EBUSY the container holds it; ENOMEM; EFAULT
   */
  register(vaddr: bigint, size: bigint): number {
    if (this.#unaligned(vaddr, size) || (size > 0n && vaddr + size >= END)) {
      throw new VfioError('EINVAL', REGISTER, {
        address: vaddr,
        reason: `address and size must be multiples of ${this.#pageSize}, and the range must not wrap`,
      })
    }
    const known = this.#memory.find(vaddr, size)
    if (known !== undefined) {
      if (this.#held.has(known)) {
        throw new VfioError('EBUSY', REGISTER, { address: vaddr, reason: 'the container holds this range' })
      }
      syscall(REGISTER, () => this.#memory.hold(known))
      this.#held.add(known)
      return 0
    }
    const made = syscall(REGISTER, () => this.#memory.register(vaddr, size), { address: vaddr })
    if ('partial' in made) return made.partial
    this.#held.add(made.region)
    return 0
  }

  /**
   * Gives a range up. Entries that still lead there keep its memory pinned and charged.
   * @throws {VfioError} EINVAL not whole pages, ENOENT the container holds no such range
   */
  unregister(vaddr: bigint, size: bigint): void {
    if (this.#unaligned(vaddr, size)) {
      throw new VfioError('EINVAL', UNREGISTER, {
        address: vaddr,
        reason: `address and size must be multiples of ${this.#pageSize}`,
      })
    }
    const region = this.#memory.find(vaddr, size)
    if (region === undefined || !this.#held.delete(region)) {
      throw new VfioError('ENOENT', UNREGISTER, {
        address: vaddr,
        reason: 'the container holds no range of that address and size',
      })
    }
    syscall(UNREGISTER, () => this.#memory.release(region, this.#keepsOrphans))
  }

  /** The container is gone. */
  release(): void {
    for (const region of this.#held) this.#memory.release(region, this.#keepsOrphans)
    this.#held.clear()
  }

  #unaligned(vaddr: bigint, size: bigint): boolean {
    return ((vaddr | size) & (this.#pageSize - 1n)) !== 0n
  }
}
