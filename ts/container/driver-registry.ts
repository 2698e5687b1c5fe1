/** The IOMMU drivers that containers of one machine choose from. */
import { VfioError } from '../errors.ts'
import type { IommuDriver } from './iommu-driver.ts'

/** Registered drivers, in the order in which they are asked. */
export class IommuDriverRegistry {
  readonly #drivers: IommuDriver[] = []

  /** Adds a driver (`vfio_register_iommu_driver`). @throws {VfioError} EINVAL it is there already */
  register(driver: IommuDriver): void {
    if (this.#drivers.includes(driver)) throw new VfioError('EINVAL', 'vfio_register_iommu_driver')
    this.#drivers.push(driver)
  }

  /** Takes a driver out; containers that use it keep it. */
  unregister(driver: IommuDriver): void {
    const at = this.#drivers.indexOf(driver)
    if (at >= 0) this.#drivers.splice(at, 1)
  }

  [Symbol.iterator](): Iterator<IommuDriver> {
    return [...this.#drivers][Symbol.iterator]()
  }
}
