/** The bus driver that gives PCI functions to the core of 2011, as vfio-pci does to today's. */
import type { VfioDeviceOps } from '../device/ops.ts'
import { matchPciName } from '../device/pci-name.ts'
import { VfioPciOps } from '../device/vfio-pci-ops.ts'
import { VfioError } from '../errors.ts'
import { PciDevice } from '../pci/device.ts'
import type { PciDriverOps } from '../pci/driver.ts'
import { PCI_ANY_ID } from '../pci/id-table.ts'
import type { DeviceOps, MachineDevice } from './device-ops.ts'
import { deviceRequests } from './device-requests.ts'

/** What the driver needs of the core. */
export interface DriverCore {
  state(device: MachineDevice): 'unknown' | 'added' | 'bound'
  groupAddDev<D>(device: MachineDevice, ops: DeviceOps<D>): void
  groupDelDev(device: MachineDevice): void
  bindDev(device: MachineDevice, data: unknown): void
  unbindThen(device: MachineDevice, finished: (data: unknown) => void): void
}

const functionRequests: DeviceOps<VfioDeviceOps> = {
  ...deviceRequests,
  match: (device, name) => matchPciName(device.name, name),
}

/**
 * Makes the driver. It matches no function by itself: one is given to it by `new_id`, or by its `driver_override`. With the first
 * function of a group it makes all of them known, so that the group is viable only when it has them all.
 */
export function pciDriver(core: DriverCore, name: string): PciDriverOps {
  return {
    name,
    managesDma: true,
    ids: [{ vendor: PCI_ANY_ID, device: PCI_ANY_ID, overrideOnly: true }],
    probe(pci) {
      const { hardware } = pci
      if (!hardware.native || pci.isBridge) {
        throw new VfioError('EINVAL', 'probe', { reason: `${pci.name} is a bridge, which ${name} does not drive` })
      }
      if (pci.group === undefined) {
        throw new VfioError('EINVAL', 'probe', { reason: `${pci.name} is in no IOMMU group` })
      }
      const ops = new VfioPciOps(hardware.native())
      for (const fn of functionsOf(pci)) if (core.state(fn) === 'unknown') core.groupAddDev(fn, functionRequests)
      core.bindDev(machineDevice(pci), ops)
    },
    remove(pci, done) {
      core.unbindThen(machineDevice(pci), (data) => {
        if (data instanceof VfioPciOps) data.release()
        forget(core, pci)
        done()
      })
    },
  }
}

/** Forgets the functions of a group that has none bound any more. */
function forget(core: DriverCore, pci: PciDevice): void {
  const functions = functionsOf(pci)
  if (!functions.some((fn) => fn.name === pci.name)) functions.push(machineDevice(pci))
  if (functions.some((fn) => core.state(fn) === 'bound')) return
  for (const fn of functions) if (core.state(fn) === 'added') core.groupDelDev(fn)
}

/** The functions of a group, without the bridges that lead to them. */
function functionsOf(pci: PciDevice): MachineDevice[] {
  const members: readonly object[] = pci.group?.members ?? [pci]
  return members
    .filter((member): member is PciDevice => member instanceof PciDevice && !member.isBridge)
    .map(machineDevice)
}

function machineDevice(pci: PciDevice): MachineDevice {
  return { name: pci.name, busName: 'pci', group: pci.group }
}
