/** Guests' page tables as objects (`IOMMUFD_OBJ_HWPT_NESTED`). */
import { VfioError } from '../errors.ts'
import { IOMMU_HWPT_ALLOC_PASID, IOMMU_HWPT_FAULT_ID_VALID } from '../uapi/constants.ts'
import type { FaultQueue } from './fault-queue.ts'
import type { HwptPaging } from './hwpt.ts'
import type { NestedTable } from './nesting.ts'
import { IommufdObject } from './object.ts'
import type { Viommu } from './viommu.ts'

const OPERATION = 'IOMMU_HWPT_ALLOC'

/** A page table that a guest keeps, on top of one that maps the guest's memory. */
export class HwptNested extends IommufdObject {
  readonly kind = 'hwpt-nested'
  readonly auto = false
  readonly parent: HwptPaging
  /** The virtual IOMMU that it was made on. */
  readonly viommu: Viommu | undefined
  readonly table: NestedTable
  readonly pasid: boolean
  #faults: FaultQueue | undefined

  constructor(parent: HwptPaging, viommu: Viommu | undefined, table: NestedTable, flags: number) {
    super()
    this.parent = parent
    this.viommu = viommu
    this.table = table
    this.pasid = (flags & IOMMU_HWPT_ALLOC_PASID) !== 0
    ;(viommu ?? parent).hold()
  }

  /** The page table that mirrors an address space. */
  get paging(): HwptPaging {
    return this.parent
  }

  /** Where missing pages are asked for. */
  get faults(): FaultQueue | undefined {
    return this.#faults
  }

  /** Asks for missing pages at a queue, which stays as long as the page table. */
  reportTo(queue: FaultQueue): void {
    this.#faults = queue
    queue.hold()
  }

  destroy(): void {
    this.#faults?.release()
    this.#faults = undefined
    ;(this.viommu ?? this.parent).release()
  }
}

/** Refuses flags that a guest's page table cannot have. @throws {VfioError} EOPNOTSUPP */
export function checkNestedFlags(flags: number, dataLength: number): void {
  if ((flags & ~(IOMMU_HWPT_FAULT_ID_VALID | IOMMU_HWPT_ALLOC_PASID)) === 0 && dataLength > 0) return
  throw new VfioError('EOPNOTSUPP', OPERATION, { reason: 'a nested page table needs data, and takes no such flags' })
}
