/** The sPAPR IOMMU driver: models `VFIO_SPAPR_TCE_IOMMU` and `VFIO_SPAPR_TCE_v2_IOMMU` (`vfio_iommu_spapr_tce.c`). */
import type { IommuDriver } from '../container/iommu-driver.ts'
import { VfioError } from '../errors.ts'
import { VFIO_EEH, VFIO_SPAPR_TCE_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU } from '../uapi/constants.ts'
import type { SpaprPlatform } from './platform.ts'
import { SpaprIommu } from './spapr-iommu.ts'
import { TableGroup } from './table-group.ts'

/** What the driver needs of its machine. */
export interface SpaprMachine {
  platform: SpaprPlatform
  /** Resets the devices of a group, whose registers are restored. */
  resetGroup(number: number): void
}

/** An IOMMU of windows, whose tables the guest's hypervisor calls update. */
export class SpaprDriver implements IommuDriver {
  readonly name = 'vfio-iommu-spapr-tce'
  readonly #machine: SpaprMachine
  readonly #groups = new Map<number, TableGroup>()

  constructor(machine: SpaprMachine) {
    this.#machine = machine
  }

  checkExtension(extension: number): number {
    if (extension === VFIO_SPAPR_TCE_IOMMU || extension === VFIO_SPAPR_TCE_v2_IOMMU) return 1
    return extension === VFIO_EEH && this.#machine.platform.settings.eeh !== undefined ? 1 : 0
  }

  open(model: number): SpaprIommu {
    if (model !== VFIO_SPAPR_TCE_IOMMU && model !== VFIO_SPAPR_TCE_v2_IOMMU) {
      throw new VfioError('EINVAL', 'VFIO_SET_IOMMU', { reason: `${model} is an extension, not a model` })
    }
    return new SpaprIommu(model, model === VFIO_SPAPR_TCE_v2_IOMMU, this.#machine.platform, this)
  }

  /** The table group of an IOMMU group, which remembers what the firmware does. */
  group(number: number): TableGroup {
    const known = this.#groups.get(number)
    if (known) return known
    const { platform } = this.#machine
    const reset = (): void => this.#machine.resetGroup(number)
    const made = new TableGroup(`group ${number}`, platform.settings.eeh, reset)
    this.#groups.set(number, made)
    return made
  }
}
