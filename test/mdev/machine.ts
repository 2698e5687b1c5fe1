/** A machine with nothing but an mdev bus, for tests of the bus itself. */
import { DeviceSession } from '../../ts/device/device-session.ts'
import { IommuGroupRegistry } from '../../ts/group/iommu-group.ts'
import { VfioRegistry } from '../../ts/group/vfio-registry.ts'
import { mtty } from '../../ts/drivers/mtty.ts'
import { MdevBus } from '../../ts/mdev/bus.ts'
import type { Mdev } from '../../ts/mdev/model.ts'
import { SysfsTree } from '../../ts/sysfs/tree.ts'

export function machine() {
  const sysfs = new SysfsTree()
  const registry = new VfioRegistry({ iommuGroups: new IommuGroupRegistry(sysfs) })
  const mdev = new MdevBus({ sysfs, registry })
  return { sysfs, registry, mdev, [Symbol.dispose]: () => mdev.close() }
}

/** A machine with the sample driver loaded. */
export function mttyMachine() {
  const made = machine()
  const parent = made.mdev.registerParent('mtty', mtty())
  return { ...made, parent }
}

/** Opens a device as a user would through its group. */
export function open(mdev: Mdev): DeviceSession {
  const device = mdev.group?.devices[0]
  if (device === undefined) throw new Error('the device is not registered')
  return DeviceSession.open(device, { kind: 'group', openDevice: () => undefined, closeDevice: () => {} })
}

export const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
export const OTHER = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1002'
export const TYPES = '/sys/class/mdev_bus/mtty/mdev_supported_types'
