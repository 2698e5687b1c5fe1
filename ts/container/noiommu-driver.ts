/** The driver for groups without isolation: model `VFIO_NOIOMMU_IOMMU`, which maps nothing (`vfio_noiommu_ops`). */
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { VFIO_NOIOMMU_IOMMU } from '../uapi/constants.ts'
import type { IommuBackend, IommuDriver } from './iommu-driver.ts'

/** Settings of the driver. */
export interface NoiommuOptions {
  /** The module parameter `enable_unsafe_noiommu_mode`. */
  enabled: () => boolean
}

/** A driver that lets devices be used with no IOMMU in between; they have no view of memory here. */
export class NoiommuDriver implements IommuDriver {
  readonly name = 'vfio-noiommu'
  readonly noiommu = true
  readonly #enabled: () => boolean

  constructor(options: NoiommuOptions) {
    this.#enabled = options.enabled
  }

  checkExtension(extension: number): number {
    return this.#enabled() && extension === VFIO_NOIOMMU_IOMMU ? 1 : 0
  }

  open(model: number, task: Task): IommuBackend {
    if (model !== VFIO_NOIOMMU_IOMMU) throw new VfioError('EINVAL', 'VFIO_SET_IOMMU')
    if (!task.capable('CAP_SYS_RAWIO')) {
      throw new VfioError('EPERM', 'VFIO_SET_IOMMU', { reason: 'no isolation needs CAP_SYS_RAWIO' })
    }
    return {
      model,
      checkExtension: (extension) => this.checkExtension(extension),
      attachGroup: () => {},
      detachGroup: () => {},
      openDevice: () => undefined,
      closeDevice: () => {},
      ioctl: () => {
        throw new VfioError('ENOTTY', 'ioctl', { reason: 'there is no IOMMU' })
      },
      release: () => {},
    }
  }
}
