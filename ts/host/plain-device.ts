/** A device on no bus that the machine models, such as one that a test invents: a directory, and an IOMMU group. */
import { VfioError } from '../errors.ts'
import type { GroupMember, IommuGroup, IommuGroupRegistry, ReservedRegion } from '../group/iommu-group.ts'
import { record, text } from '../shape.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import type { ParentDevice } from './bus-device.ts'

/** How a device is added. */
export interface PlainDeviceOptions {
  /** A device that the IOMMU cannot tell from it: they share a group. */
  groupWith?: ParentDevice
}

/** What devices need of their machine. */
export interface PlainDeviceMachine {
  readonly sysfs: SysfsTree
  readonly groups: IommuGroupRegistry
  /** Ranges that the IOMMU does not translate; undefined: there is no IOMMU. */
  readonly reserved: readonly ReservedRegion[] | undefined
}

/** A device of one's own. Got from `host.addDevice()`. */
export class PlainDevice implements GroupMember, ParentDevice {
  readonly name: string
  readonly path: string
  /** No host driver is ever bound to it. */
  readonly driver = undefined
  readonly driverManagedDma = true
  readonly #machine: PlainDeviceMachine
  #group: IommuGroup | undefined

  /**
   * Made by `host.addDevice()`. @throws {VfioError} EEXIST there is one of that name
   * @internal
   */
  constructor(machine: PlainDeviceMachine, name: string, options: PlainDeviceOptions) {
    this.name = text(name, 'name')
    this.path = `/sys/devices/platform/${name}`
    this.#machine = machine
    const { groupWith } = record(options, 'options')
    if (!/^[^/\0]+$/.test(name)) throw new VfioError('EINVAL', 'device_add', { reason: `'${name}' is no file name` })
    if (machine.sysfs.exists(this.path)) throw new VfioError('EEXIST', 'device_add', { path: this.path })
    this.#group = this.#join(groupWith)
  }

  /** IOMMU group that it is in; undefined: there is no IOMMU, or it was removed. */
  get group(): IommuGroup | undefined {
    return this.#group
  }

  /** Takes it off the machine (idempotent). @throws {VfioError} EBUSY a user has its group */
  remove(): void {
    const group = this.#group
    if (group?.dmaOwner !== undefined) {
      throw new VfioError('EBUSY', 'device_del', {
        reason: `a user has group ${group.number}`,
        remedy: 'unregister its devices from VFIO first',
      })
    }
    this.#group = undefined
    group?.remove(this.name)
    this.#machine.sysfs.remove(this.path)
  }

  #join(other: ParentDevice | undefined): IommuGroup | undefined {
    const { sysfs, groups, reserved } = this.#machine
    sysfs.dir(this.path)
    if (reserved === undefined) return undefined
    const shared = other === undefined ? undefined : groups.of(other.name)
    const group = shared ?? groups.create({ reserved })
    group.add(this)
    return group
  }
}
