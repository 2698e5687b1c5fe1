/**
 * Registration of devices with VFIO: what bus drivers call (`vfio_register_group_dev()` and its siblings).
 *
 * Numbers are the lowest that are free: `vfioN` for devices here, groups by the IOMMU group registry.
 */
import { EventEmitter } from 'node:events'
import type { VfioDevice } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import type { GroupMember, IommuGroup, IommuGroupRegistry } from './iommu-group.ts'
import { LowestFreeNumbers } from './numbers.ts'
import { VfioGroup } from './vfio-group.ts'

/** What appears and disappears; `/dev` and `/sys` follow it. */
export interface VfioRegistryEvents {
  'group-added': [group: VfioGroup]
  'group-removed': [group: VfioGroup]
  'device-added': [device: VfioDevice, group: VfioGroup]
  /** `index` is the number that it had. */
  'device-removed': [device: VfioDevice, group: VfioGroup, index: number]
}

/** Settings of a registry. */
export interface VfioRegistryOptions {
  iommuGroups: IommuGroupRegistry
  /** The module parameter `enable_unsafe_noiommu_mode`; asked at each registration. */
  noiommu?: () => boolean
}

/** The VFIO devices and groups of one machine. */
export class VfioRegistry extends EventEmitter<VfioRegistryEvents> {
  readonly #iommuGroups: IommuGroupRegistry
  readonly #noiommu: () => boolean
  readonly #numbers = new LowestFreeNumbers()
  readonly #groups = new Map<IommuGroup, VfioGroup>()
  readonly #devices = new Map<VfioDevice, VfioGroup>()

  constructor(options: VfioRegistryOptions) {
    super()
    this.#iommuGroups = options.iommuGroups
    this.#noiommu = options.noiommu ?? (() => false)
  }

  /** Groups with a device of a VFIO driver, by number. */
  get groups(): readonly VfioGroup[] {
    return [...this.#groups.values()].sort((a, b) => a.number - b.number)
  }

  /** Registered devices, by `vfioN`. */
  get devices(): readonly VfioDevice[] {
    return [...this.#devices.keys()].sort((a, b) => (a.index ?? 0) - (b.index ?? 0))
  }

  /** The VFIO group of that number, if a VFIO driver holds a device of it. */
  group(number: number): VfioGroup | undefined {
    return this.groups.find((group) => group.number === number)
  }

  /** The group that a registered device is in. */
  groupOf(device: VfioDevice): VfioGroup | undefined {
    return this.#devices.get(device)
  }

  /**
   * Registers a device that sits behind the host's IOMMU, in `iommuGroup` (`vfio_register_group_dev`). A device without an
   * IOMMU group gets one without isolation where the machine allows that.
   * @throws {VfioError} EINVAL no IOMMU group, EBUSY registered already
   */
  registerGroupDev(device: VfioDevice, iommuGroup: IommuGroup | undefined): VfioGroup {
    if (iommuGroup !== undefined) return this.#register(device, iommuGroup)
    if (!this.#noiommu()) {
      throw new VfioError('EINVAL', 'vfio_register_group_dev', {
        reason: `${device.name} is in no IOMMU group`,
        remedy: 'enable_unsafe_noiommu_mode gives it to users without isolation',
      })
    }
    return this.#registerAlone(device, 'noiommu')
  }

  /** Registers a device whose DMA software does, such as a mediated one (`vfio_register_emulated_iommu_dev`). @throws {VfioError} EBUSY */
  registerEmulatedIommuDev(device: VfioDevice): VfioGroup {
    return this.#registerAlone(device, 'emulated')
  }

  /**
   * Unregisters a device (`vfio_unregister_group_dev`). Nobody can open it any more; who has it open is asked to let go, and
   * `finished` runs when all have, which may be before this returns. A device that is not registered has finished.
   */
  unregisterGroupDev(device: VfioDevice, finished: () => void = () => {}): void {
    const group = this.#devices.get(device)
    const { index } = device
    if (group === undefined || index === undefined) return finished()
    group.hide(device)
    device.leave(() => {
      this.#devices.delete(device)
      this.#numbers.give(index)
      this.emit('device-removed', device, group, index)
      this.#leaveGroup(group, device)
      finished()
    })
  }

  #registerAlone(device: VfioDevice, kind: 'emulated' | 'noiommu'): VfioGroup {
    if (device.index !== undefined)
      throw new VfioError('EBUSY', 'vfio_register', { reason: `${device.name} is registered already` })
    const iommuGroup = this.#iommuGroups.create({ kind })
    const member: GroupMember = {
      name: device.name,
      path: device.path ?? `/sys/devices/virtual/vfio/${device.name}`,
      driver: device.ops.name,
      driverManagedDma: true,
    }
    try {
      iommuGroup.add(member)
      return this.#register(device, iommuGroup)
    } catch (error) {
      iommuGroup.remove(device.name)
      this.#iommuGroups.drop(iommuGroup)
      throw error
    }
  }

  #register(device: VfioDevice, iommuGroup: IommuGroup): VfioGroup {
    const index = this.#numbers.take()
    try {
      device.enter(index)
    } catch (error) {
      this.#numbers.give(index)
      throw error
    }
    let group = this.#groups.get(iommuGroup)
    const created = group === undefined
    group ??= new VfioGroup(iommuGroup)
    this.#groups.set(iommuGroup, group)
    group.join(device)
    this.#devices.set(device, group)
    if (created) this.emit('group-added', group)
    this.emit('device-added', device, group)
    return group
  }

  #leaveGroup(group: VfioGroup, device: VfioDevice): void {
    const last = group.leave()
    if (last) {
      this.#groups.delete(group.iommuGroup)
      this.emit('group-removed', group)
    }
    if (group.kind !== 'iommu') group.iommuGroup.remove(device.name)
  }
}
