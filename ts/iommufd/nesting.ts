/** What an IOMMU does for guests that have one of their own: the interface of the hardware's driver. */
import type { NativeIoas, NativePagingDomain } from '../native/addon.ts'
import type { NativeNestedTable, NativeVirtualIommu } from '../native/addon-nesting.ts'
import type { UserArray, UserData } from './user-data.ts'

/** The page table under those of guests, and the address space that it mirrors. */
export interface ParentTable {
  readonly native: NativePagingDomain
  readonly ioas: { readonly native: NativeIoas }
}

/** An array of invalidations that was begun: how many are done, and what stopped it. */
export interface Invalidated {
  done: number
  error?: unknown
}

/** A guest's page table, as its hardware keeps it. */
export interface NestedTable {
  /** What devices walk. */
  readonly native?: NativeNestedTable
  /** `IOMMU_HWPT_INVALIDATE` of the table. */
  invalidate(array: UserArray): Invalidated
}

/** A command queue, as its hardware keeps it. */
export interface HardwareQueue {
  /** Another queue needs it. */
  readonly inUse?: boolean
  destroy(): void
}

/** A virtual IOMMU, as its hardware keeps it. */
export interface VirtualIommu {
  readonly native?: NativeVirtualIommu
  readonly eventType: number
  readonly queueType: number
  /** Its registers: where they can be mapped in the iommufd's file. */
  readonly registers?: RegisterPage
  /** `IOMMU_HWPT_ALLOC` on it. @throws {VfioError} */
  nest(data: UserData, parent: ParentTable): NestedTable
  /** `IOMMU_HWPT_INVALIDATE` of it; `deviceOf` finds a device by the guest's number. */
  invalidate(array: UserArray, deviceOf: (virtId: bigint) => object | undefined): Invalidated
  /** `IOMMU_HW_QUEUE_ALLOC`. @throws {VfioError} */
  makeQueue(index: number, base: bigint, length: bigint): HardwareQueue
}

/** Registers in the iommufd's file, 32 bits each. */
export interface RegisterPage {
  readonly length: bigint
  read(offset: number): number
  write(offset: number, value: number): void
}

/** An IOMMU that nests. */
export interface Nesting {
  /** Makes a guest's table. @throws {VfioError} EOPNOTSUPP another kind of data, EINVAL, EFAULT */
  nest(data: UserData, parent: ParentTable): NestedTable
  /** Kind of its virtual IOMMUs. */
  readonly viommuType: number
  /** Makes a virtual IOMMU; `mmap` gives its registers a place in the file. @throws {VfioError} EINVAL, EFAULT */
  makeViommu(data: UserData | undefined, parent: ParentTable, mmap: (page: RegisterPage) => bigint): VirtualIommu
}

/** Runs invalidations one by one until one is refused. */
export function invalidateEach(array: UserArray, run: (at: number) => void): Invalidated {
  for (let at = 0; at < array.entries; at++) {
    try {
      run(at)
    } catch (error) {
      return { done: at, error }
    }
  }
  return { done: array.entries }
}
