/** I/O address spaces as objects (`IOMMUFD_OBJ_IOAS`). */
import { VfioError } from '../errors.ts'
import type { NativeIoas } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { IommuHardware } from './hardware.ts'
import { IommufdObject } from './object.ts'

/** A page table, as its address space knows it. */
export interface IoasPageTable {
  readonly hardware: IommuHardware
}

/** An address space: what is mapped, and the page tables that show it. */
export class IoasObject extends IommufdObject {
  readonly kind = 'ioas'
  readonly native: NativeIoas
  /** Page tables of this space. */
  readonly hwpts = new Set<IoasPageTable>()
  readonly #gone: (ioas: IoasObject) => void

  /** `gone` runs when it is destroyed. */
  constructor(gone: (ioas: IoasObject) => void) {
    super()
    this.native = syscall('IOMMU_IOAS_ALLOC', () => new (addon().iommufd.Ioas)())
    this.#gone = gone
  }

  /** `IOMMU_IOAS_UNMAP`: returns the bytes unmapped. @throws {VfioError} EINVAL, EOVERFLOW, ENOENT, EDEADLK */
  unmap(iova: bigint, length: bigint, operation = 'IOMMU_IOAS_UNMAP'): bigint {
    const { bytes, status } = this.native.unmap(iova, length)
    if (status < 0) throw VfioError.fromStatus(status, operation, { address: iova })
    return bytes
  }

  /** Unmaps everything; returns the bytes unmapped. @throws {VfioError} EDEADLK */
  unmapAll(operation = 'IOMMU_IOAS_UNMAP'): bigint {
    const { bytes, status } = this.native.unmapAll()
    if (status < 0) throw VfioError.fromStatus(status, operation)
    return bytes
  }

  destroy(): void {
    this.#gone(this)
    this.native.unmapAll()
  }
}
