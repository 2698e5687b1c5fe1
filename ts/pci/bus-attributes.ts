/** What the PCI bus shows in its directory: its functions, its drivers, and the knobs that bring them together. */
import { VfioError } from '../errors.ts'
import { oneLine, writtenAction } from '../sysfs/device-node.ts'
import { parseNumber } from '../sysfs/number.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import type { DriverCore, EnumeratedFunctions } from './driver-core.ts'

/** What the knobs turn. */
export interface BusNode {
  readonly core: DriverCore
  readonly functions: EnumeratedFunctions
  /** Looks for hardware that is not enumerated. */
  rescan(): void
}

const BUS = '/sys/bus/pci'

/** Makes the directory of the bus. */
export function addBusNode(sysfs: SysfsTree, { core, functions, rescan }: BusNode): void {
  sysfs.dir(`${BUS}/devices`)
  sysfs.dir(`${BUS}/drivers`)
  sysfs.attr(`${BUS}/drivers_autoprobe`, {
    mode: 0o644,
    show: () => (core.autoprobe ? '1\n' : '0\n'),
    store: (written) => {
      core.autoprobe = !written.startsWith('0')
    },
  })
  sysfs.attr(`${BUS}/drivers_probe`, {
    mode: 0o200,
    store: (written) => {
      const device = functions.named(oneLine(written))
      if (!device) throw new VfioError('ENODEV', 'write', { path: `${BUS}/drivers_probe`, reason: 'no such device' })
      core.attach(device)
    },
  })
  sysfs.attr(`${BUS}/rescan`, {
    mode: 0o200,
    store: (written) => {
      if (parseNumber(written, `${BUS}/rescan`) !== 0n) rescan()
    },
  })
  sysfs.attr(`${BUS}/uevent`, { mode: 0o200, store: (written) => void writtenAction(written, `${BUS}/uevent`) })
}
