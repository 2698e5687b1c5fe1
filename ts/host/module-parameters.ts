/** Module parameters: settings of the simulated kernel that can be changed while it runs, and their files. */
import { VfioError } from '../errors.ts'
import { oneLine } from '../sysfs/device-node.ts'
import { parseBool, parseNumber } from '../sysfs/number.ts'
import type { SysfsTree } from '../sysfs/tree.ts'

/** Where parameters are shown. */
const MODULES = '/sys/module'

/** Parameters of the VFIO modules. */
export interface ModuleParameters {
  /** `vfio`: devices without an IOMMU group can be used without isolation. */
  enableUnsafeNoiommuMode: boolean
  /** `vfio_iommu_type1`: most mappings of one container; counts for containers that choose their model later. */
  dmaEntryLimit: number
  /** `vfio_iommu_type1`: go on although interrupts are not isolated. The simulated IOMMU isolates them. */
  allowUnsafeInterrupts: boolean
  /** `vfio_iommu_type1`: map with the smallest pages only. Shown; has no effect on what is mapped. */
  disableHugepages: boolean
}

/** Shows the parameters under `/sys/module`; writing there changes `parameters`. */
export function showModuleParameters(sysfs: SysfsTree, parameters: ModuleParameters): void {
  const flag = (path: string, name: 'enableUnsafeNoiommuMode' | 'allowUnsafeInterrupts' | 'disableHugepages') => {
    sysfs.attr(path, {
      mode: 0o644,
      show: () => (parameters[name] ? 'Y\n' : 'N\n'),
      store: (text) => void (parameters[name] = parseBool(text, path)),
    })
  }
  flag(`${MODULES}/vfio/parameters/enable_unsafe_noiommu_mode`, 'enableUnsafeNoiommuMode')
  flag(`${MODULES}/vfio_iommu_type1/parameters/allow_unsafe_interrupts`, 'allowUnsafeInterrupts')
  flag(`${MODULES}/vfio_iommu_type1/parameters/disable_hugepages`, 'disableHugepages')
  const limit = `${MODULES}/vfio_iommu_type1/parameters/dma_entry_limit`
  sysfs.attr(limit, {
    mode: 0o644,
    show: () => `${parameters.dmaEntryLimit}\n`,
    store: (text) => {
      const entries = parseNumber(oneLine(text), limit)
      if (entries > 0xffff_ffffn) throw new VfioError('ERANGE', 'write', { path: limit })
      parameters.dmaEntryLimit = Number(entries)
    },
  })
}
