/** The type1 IOMMU driver: models `VFIO_TYPE1_IOMMU` and `VFIO_TYPE1v2_IOMMU` (`vfio_iommu_type1.c`). */
import type { IommuDriver } from '../container/iommu-driver.ts'
import { VfioError } from '../errors.ts'
import type { NativeGeometry } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, VFIO_UNMAP_ALL } from '../uapi/constants.ts'
import { Type1Iommu } from './type1-iommu.ts'

/** Most mappings of a container (`dma_entry_limit`), unless the machine says otherwise. */
export const DMA_ENTRY_LIMIT = 65535

/** What the host's IOMMU can translate; reserved ranges come with each group. */
export type IommuGeometry = Omit<NativeGeometry, 'reserved'>

/** Settings of the driver, asked when a model is chosen. */
export interface Type1Options {
  geometry: () => IommuGeometry
  /** The module parameter `dma_entry_limit`. */
  entryLimit?: () => number
}

/** An IOMMU that maps pages anywhere in an address space, pinning what real devices reach. */
export class Type1Driver implements IommuDriver {
  readonly name = 'vfio-iommu-type1'
  readonly #geometry: () => IommuGeometry
  readonly #entryLimit: () => number

  constructor(options: Type1Options) {
    this.#geometry = options.geometry
    this.#entryLimit = options.entryLimit ?? (() => DMA_ENTRY_LIMIT)
  }

  checkExtension(extension: number): number {
    return extension === VFIO_TYPE1_IOMMU || extension === VFIO_TYPE1v2_IOMMU || extension === VFIO_UNMAP_ALL ? 1 : 0
  }

  open(model: number): Type1Iommu {
    if (model !== VFIO_TYPE1_IOMMU && model !== VFIO_TYPE1v2_IOMMU) {
      throw new VfioError('EINVAL', 'VFIO_SET_IOMMU', { reason: `${model} is an extension of type1, not a model` })
    }
    const version2 = model === VFIO_TYPE1v2_IOMMU
    const native = syscall('VFIO_SET_IOMMU', () => new (addon().NativeType1)(version2, this.#entryLimit()))
    return new Type1Iommu(model, native, this.#geometry())
  }
}
