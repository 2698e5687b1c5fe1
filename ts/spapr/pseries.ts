/** pseries: tables of the hypervisor, one level, windows where the firmware wants them, and each in one group only. */
import { VfioError } from '../errors.ts'
import { isPowerOfTwo, log2, type SpaprPlatform, type SpaprSettings } from './platform.ts'
import type { TableGroup } from './table-group.ts'
import type { TablePlan, Window, WindowRequest } from './window.ts'

/** What the kernel takes for the size of a table that it cannot have. */
const NO_SIZE = 0xffff_ffffn
const DEFAULT_SHIFT = 12

/** A machine below a hypervisor. */
export class PSeries implements SpaprPlatform {
  readonly name = 'pseries'
  readonly settings: SpaprSettings
  readonly writeImpliesRead = false

  constructor(settings: SpaprSettings) {
    this.settings = settings
  }

  tableBytes({ pageShift, size, levels }: WindowRequest): bigint {
    return levels > 1 ? NO_SIZE : size >> BigInt(pageShift - 3)
  }

  planTable(group: TableGroup, slot: number, request: WindowRequest): TablePlan {
    const { pageShift, size, levels } = request
    const { dma32Start, dma32Size, window64Start } = this.settings
    if (levels > 1) throw refused('EINVAL', 'the firmware has tables of one level')
    if (!isPowerOfTwo(size)) throw refused('EINVAL', `${size} is no power of two`)
    if (group.failed) throw refused('ENODEV', `the firmware refused ${group.name} a window earlier`)
    const taken = group.hasWideWindow
    if (slot === 0 && taken) throw refused('EPERM', 'the default window cannot come back beside a 64-bit one')
    const entries = size >> BigInt(pageShift)
    const plan = { entries, levelBits: [log2(entries || 1n)] }
    if (slot === 0 && pageShift === DEFAULT_SHIFT && size <= dma32Size) {
      return { ...plan, start: dma32Start, wide: false }
    }
    if (taken || entries === 0n) {
      // The kernel does not ask the firmware again for this device.
      group.failed = true
      throw refused('ENODEV', 'the firmware refuses the window, and the device gets none until the machine restarts')
    }
    return { ...plan, start: window64Start, wide: true }
  }

  setWindow(group: TableGroup, window: Window): void {
    if (window.owner !== group) {
      throw new VfioError('EPERM', 'set_window', {
        reason: `the hypervisor's table belongs to ${window.owner.name}`,
        remedy: 'give each group a container of its own',
      })
    }
    group.set(window)
  }
}

function refused(code: 'EINVAL' | 'ENODEV' | 'EPERM', reason: string): VfioError {
  return new VfioError(code, 'VFIO_IOMMU_SPAPR_TCE_CREATE', { reason })
}
