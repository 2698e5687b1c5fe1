/** What bus drivers of 2011 gave the core: callbacks that get the driver's data (`struct vfio_device_ops`). */
import type { OlderBusDriverOps } from '../device/bus-driver-ops.ts'
import { checkedOlderBusDriver } from '../device/checked-ops.ts'
import { invalidArgType } from '../errors.ts'
import { IommuGroup } from '../group/iommu-group.ts'
import { record, text } from '../shape.ts'

/** A device on a bus of the machine (`struct device`). */
export interface MachineDevice {
  /** Its name on the bus. */
  readonly name: string
  /** Name of the bus, such as `'pci'`: groups are named after it. Absent: `'platform'`. */
  readonly busName?: string
  /** IOMMU group that it is in; undefined: there is no IOMMU. */
  readonly group: object | undefined
}

/**
 * Callbacks of a bus driver; `D` is the data that it binds a device with. `ioctl` gets the `VFIO_DEVICE_*` requests of the
 * header of 2011; an absent member is a callback that was left NULL, and answered with EINVAL.
 */
export interface DeviceOps<D> extends OlderBusDriverOps<D> {
  /** Tells whether what a user asked for describes the device; absent: its name does. */
  match?(device: MachineDevice, name: string): boolean
}

/** Takes callbacks. @throws {TypeError} ERR_INVALID_ARG_TYPE a member of the wrong type */
export function checkedDeviceOps<D>(ops: DeviceOps<D>): DeviceOps<D> {
  checkedOlderBusDriver(ops)
  if (ops.match !== undefined && typeof ops.match !== 'function')
    throw invalidArgType('ops.match', 'a function or undefined', ops.match)
  return ops
}

/** Takes a device; undefined stands for its group where there is no IOMMU. @throws {TypeError} */
export function groupOf(device: MachineDevice): IommuGroup | undefined {
  text(record(device, 'device').name, 'device.name')
  if (device.busName !== undefined) text(device.busName, 'device.busName')
  const { group } = device
  if (group === undefined || group instanceof IommuGroup) return group
  throw invalidArgType('device.group', 'an IommuGroup', group)
}
