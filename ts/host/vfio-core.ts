/**
 * VFIO's core as bus drivers call it: devices are allocated, registered, unregistered and put.
 *
 * `vfio-pci` and the mdev core use the same registry; this is the door for drivers of one's own. Source:
 * `Documentation/driver-api/vfio.rst`, "VFIO bus driver API".
 */
import type { BusDriverOps, OlderBusDriverOps } from '../device/bus-driver-ops.ts'
import { byteOps } from '../device/byte-ops.ts'
import { checkedBusDriver, checkedOlderBusDriver, checkedOps } from '../device/checked-ops.ts'
import type { VfioDeviceOps } from '../device/ops.ts'
import { VfioDevice } from '../device/vfio-device.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { IommuGroup } from '../group/iommu-group.ts'
import type { VfioRegistry } from '../group/vfio-registry.ts'
import { record, text, u32 } from '../shape.ts'
import { BusDevice, type ParentDevice } from './bus-device.ts'

/** How a device is allocated. */
export interface BusDeviceOptions<D = undefined> {
  /** Whatever its driver wants to find again in `device.data`. */
  data?: D
  /** What it is on the machine, such as a PCI function; absent: nothing, it can only be registered as emulated. */
  parent?: ParentDevice
  /** Milliseconds between two requests to its users to let it go; default 10000. */
  requestInterval?: number
}

/** The core, for drivers. Got from `host.vfio`. */
export class VfioCore {
  readonly #registry: VfioRegistry

  /** @internal */
  constructor(registry: VfioRegistry) {
    this.#registry = registry
  }

  /**
   * Allocates a device whose callbacks answer by values (`vfio_alloc_device`); its `init` runs.
   * @throws {TypeError} a callback that is none @throws what `init` throws
   */
  allocDevice<D = undefined>(name: string, ops: VfioDeviceOps, options: BusDeviceOptions<D> = {}): BusDevice<D> {
    const checked = checkedOps(ops)
    return this.#alloc(name, options, () => checked)
  }

  /**
   * Allocates a device whose callbacks are those of the document: each gets the device, and requests come as bytes.
   * @throws {TypeError} a callback that is none @throws what `init` throws
   */
  allocBusDevice<D = undefined>(
    name: string,
    ops: BusDriverOps<BusDevice<D>>,
    options: BusDeviceOptions<D> = {},
  ): BusDevice<D> {
    const checked = checkedBusDriver(ops)
    return this.#alloc(name, options, (device) => byteOps(device, checked))
  }

  /**
   * Allocates a device whose callbacks are those of the older text: `open` and `release` are those of the device file.
   * @throws {TypeError} a callback that is none
   */
  allocOlderBusDevice<D = undefined>(
    name: string,
    ops: OlderBusDriverOps<BusDevice<D>>,
    options: BusDeviceOptions<D> = {},
  ): BusDevice<D> {
    const { open, release, read, write, ioctl, mmap, name: driver = text(name, 'name') } = checkedOlderBusDriver(ops)
    const today: BusDriverOps<BusDevice<D>> = {
      name: driver,
      openDevice: (device, dma) => {
        if (open === undefined) throw new VfioError('EINVAL', 'open', { reason: `${driver} has no open` })
        open.call(ops, device, dma)
      },
      closeDevice: (device) => release?.call(ops, device),
      ...(read && { read: read.bind(ops) }),
      ...(write && { write: write.bind(ops) }),
      ...(ioctl && { ioctl: ioctl.bind(ops) }),
      ...(mmap && { mmap: mmap.bind(ops) }),
    }
    return this.#alloc(name, options, (device) => byteOps(device, today))
  }

  /**
   * Registers a device that sits behind the host's IOMMU, in the group of its parent (`vfio_register_group_dev`). From now on
   * users can open it.
   * @throws {VfioError} EINVAL its parent is in no IOMMU group, EBUSY it is registered already
   */
  registerGroupDev(device: BusDevice<unknown>): void {
    const group = device.parent?.group
    if (group !== undefined && !(group instanceof IommuGroup))
      throw invalidArgType('parent.group', 'an IommuGroup', group)
    device.joined(this.#registry.registerGroupDev(vfioOf(device), group))
  }

  /**
   * Registers a device whose DMA software does, in a group of its own (`vfio_register_emulated_iommu_dev`).
   * @throws {VfioError} EBUSY it is registered already
   */
  registerEmulatedIommuDev(device: BusDevice<unknown>): void {
    device.joined(this.#registry.registerEmulatedIommuDev(vfioOf(device)))
  }

  /**
   * Unregisters a device (`vfio_unregister_group_dev`): nobody can open it any more; who has it open is asked to let go, by the
   * driver's `request` and by the event of that name, again and again. The promise is fulfilled when all have. A device that is
   * not registered has been left by all.
   */
  unregisterGroupDev(device: BusDevice<unknown>): Promise<void> {
    const vfio = vfioOf(device)
    return new Promise((resolve) => this.#registry.unregisterGroupDev(vfio, resolve))
  }

  /** Lets a device go for good (`vfio_put_device`); its `release` runs, once. @throws {VfioError} EBUSY it is registered */
  putDevice(device: BusDevice<unknown>): void {
    vfioOf(device).put()
  }

  #alloc<D>(
    name: string,
    options: BusDeviceOptions<D>,
    callbacks: (device: BusDevice<D>) => VfioDeviceOps,
  ): BusDevice<D> {
    text(name, 'name')
    const { data, parent, requestInterval } = record(options, 'options')
    if (parent !== undefined) text(record(parent, 'options.parent').path, 'options.parent.path')
    const interval = requestInterval === undefined ? {} : { requestInterval: u32(requestInterval, 'requestInterval') }
    const device = new BusDevice<D>(name, data as D, parent)
    device.made(new VfioDevice(name, callbacks(device), { ...interval, ...(parent && { path: parent.path }) }))
    return device
  }
}

function vfioOf(device: BusDevice<unknown>): VfioDevice {
  if (!(device instanceof BusDevice) || device.vfio === undefined)
    throw invalidArgType('device', 'a device that host.vfio allocated', device)
  return device.vfio
}
