/**
 * The VFIO core of 2011 on a simulated machine: bus drivers add and bind devices, users open their groups under `/dev/vfio`.
 *
 * Groups, IOMMU and devices are those of the machine; only the rules of ownership are that header's own.
 */
import { invalidArgType, VfioError } from '../errors.ts'
import type { HostProcess } from '../host/process.ts'
import { SoftwareHost } from '../host/software-host.ts'
import { record, text, u32 } from '../shape.ts'
import { AddedDevice } from './added-device.ts'
import { DeviceGroup } from './device-group.ts'
import { checkedDeviceOps, type DeviceOps, groupOf, type MachineDevice } from './device-ops.ts'
import { GroupFile } from './files.ts'
import { Group } from './group.ts'
import { pciDriver } from './pci-driver.ts'

/** Settings of the core. */
export interface Vfio2011Options {
  /** Milliseconds between two requests to the users of a device whose driver leaves; default 10000. */
  requestInterval?: number
  /** Name of the driver that gives PCI functions to this core; default `'vfio-pci-2011'`. */
  pciDriver?: string
}

/** The core of 2011. One machine can have it beside today's; a group belongs to whoever uses it first. */
export class Vfio2011 {
  readonly #host: SoftwareHost
  readonly #requestInterval: number
  readonly #devices = new Map<string, { added: AddedDevice; group: DeviceGroup }>()
  readonly #groups = new Map<string, DeviceGroup>()

  /** @throws {TypeError} a value of the wrong shape @throws {VfioError} EBUSY the machine has a driver of that name */
  constructor(host: SoftwareHost, options: Vfio2011Options = {}) {
    if (!(host instanceof SoftwareHost)) throw invalidArgType('host', 'a SoftwareHost', host)
    record(options, 'options')
    this.#host = host
    this.#requestInterval = u32(options.requestInterval ?? 10_000, 'requestInterval')
    const name = text(options.pciDriver ?? 'vfio-pci-2011', 'pciDriver')
    host.pci.addDriver(pciDriver(this, name))
  }

  /** Names of the groups, as their files are named: bus, colon, number. */
  get groups(): readonly string[] {
    return [...this.#groups.keys()].sort()
  }

  /**
   * Makes a device known (`vfio_group_add_dev`): its group has a file from now on, and is not viable before the device is bound.
   * @throws {TypeError} a callback that is none @throws {VfioError} EINVAL it is in no IOMMU group, EEXIST it is known
   */
  groupAddDev<D>(device: MachineDevice, ops: DeviceOps<D>): void {
    const operation = 'vfio_group_add_dev'
    const iommuGroup = groupOf(device)
    const callbacks = checkedDeviceOps(ops)
    if (this.#devices.has(device.name)) throw new VfioError('EEXIST', operation, { reason: `${device.name} is known` })
    if (iommuGroup === undefined) {
      throw new VfioError('EINVAL', operation, { reason: `${device.name} is in no IOMMU group` })
    }
    const name = `${device.busName ?? 'platform'}:${iommuGroup.number}`
    const group = this.#groups.get(name) ?? new DeviceGroup(name, iommuGroup, () => this.#host.makeContainer())
    if (!this.#groups.has(name)) {
      this.#host.dev.add(pathOf(name), { mode: 0o600, open: () => new GroupFile(group) })
      this.#groups.set(name, group)
    }
    const added = new AddedDevice(device, callbacks as DeviceOps<unknown>, this.#requestInterval)
    group.devices.add(added)
    this.#devices.set(device.name, { added, group })
  }

  /**
   * Forgets a device (`vfio_group_del_dev`); with the last one of its group the file goes.
   * @throws {VfioError} ENODEV it is not known, EBUSY it is bound
   */
  groupDelDev(device: MachineDevice): void {
    const operation = 'vfio_group_del_dev'
    const { added, group } = this.#known(device, operation)
    if (added.bound) {
      throw new VfioError('EBUSY', operation, { reason: `${device.name} is bound`, remedy: 'unbind it first' })
    }
    this.#devices.delete(device.name)
    group.devices.delete(added)
    group.shrunk()
    if (!group.gone) return
    this.#groups.delete(group.name)
    this.#host.dev.remove(pathOf(group.name))
  }

  /**
   * Binds a device that is known (`vfio_bind_dev`): its callbacks get `data` from now on.
   * @throws {VfioError} ENODEV it is not known, EBUSY it is bound
   */
  bindDev(device: MachineDevice, data: unknown): void {
    this.#known(device, 'vfio_bind_dev').added.bind(data)
  }

  /**
   * Unbinds a device (`vfio_unbind_dev`): nobody can open it any more, and who has it open is asked to let go, again and again.
   * The promise is fulfilled with the data that it was bound with, when all have.
   * @throws {VfioError} by rejection: ENODEV it is not known or not bound, EBUSY it is being unbound
   */
  async unbindDev<D = unknown>(device: MachineDevice): Promise<D> {
    return new Promise<D>((resolve) => this.unbindThen(device, (data) => resolve(data as D)))
  }

  /**
   * As {@link unbindDev}, and `finished` runs at once where nobody has the device open.
   * @internal
   */
  unbindThen(device: MachineDevice, finished: (data: unknown) => void): void {
    this.#known(device, 'vfio_unbind_dev').added.unbind(finished)
  }

  /** Tells whether a device is known, and whether it is bound. @throws {TypeError} no device */
  state(device: MachineDevice): 'unknown' | 'added' | 'bound' {
    const known = this.#devices.get(text(record(device, 'device').name, 'device.name'))
    return known === undefined ? 'unknown' : known.added.bound ? 'bound' : 'added'
  }

  /**
   * Opens a group by the name of its file, such as `'pci:26'`; default for the machine's default process. Anybody who may can
   * open it as well; only one process at a time can use it.
   * @throws {VfioError} ENOENT no such group, EACCES the owner and mode of its file forbid it, EBADF the machine is closed
   */
  openGroup(name: string, process: HostProcess = this.#host.defaultProcess): Group {
    const group = this.#groups.get(text(name, 'name'))
    if (group === undefined) {
      throw new VfioError('ENOENT', 'open', {
        path: pathOf(name),
        remedy: this.groups.length === 0 ? 'add a device' : `there are ${this.groups.join(', ')}`,
      })
    }
    this.#host.dev.lookup(pathOf(name), process, { read: true, write: true })
    return new Group(group, process)
  }

  #known(device: MachineDevice, operation: string): { added: AddedDevice; group: DeviceGroup } {
    const { name } = record(device, 'device')
    const known = this.#devices.get(text(name, 'device.name'))
    if (known === undefined) throw new VfioError('ENODEV', operation, { reason: `${name} was not added` })
    return known
  }
}

function pathOf(group: string): string {
  return `/dev/vfio/${group}`
}
