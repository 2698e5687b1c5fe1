/** A group of devices as the core of 2011 keeps it: who is in it, who has it open, and whom it is merged with. */
import type { VfioContainer } from '../container/vfio-container.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import type { IommuGroup, ReservedRegion } from '../group/iommu-group.ts'
import { VFIO_GROUP_FLAGS_MM_LOCKED, VFIO_GROUP_FLAGS_VIABLE } from '../uapi/2011/constants.ts'
import type { AddedDevice } from './added-device.ts'
import { type MergeableGroup, MergedGroups } from './merged-groups.ts'

/** The devices of an IOMMU group that bus drivers have added. */
export class DeviceGroup implements MergeableGroup {
  readonly kind = 'iommu'
  /** Name of its file under `/dev/vfio`, such as `'pci:26'`. */
  readonly name: string
  readonly iommuGroup: IommuGroup
  readonly devices = new Set<AddedDevice>()
  readonly #makeContainer: () => VfioContainer
  #merged: MergedGroups
  #files = 0
  #openDevices = 0

  constructor(name: string, iommuGroup: IommuGroup, makeContainer: () => VfioContainer) {
    this.name = name
    this.iommuGroup = iommuGroup
    this.#makeContainer = makeContainer
    this.#merged = new MergedGroups(this, makeContainer)
  }

  get number(): number {
    return this.iommuGroup.number
  }

  get reserved(): readonly ReservedRegion[] {
    return this.iommuGroup.reserved
  }

  /** The groups that share an IOMMU with it. */
  get merged(): MergedGroups {
    return this.#merged
  }

  /** Whether its last device was taken away. */
  get gone(): boolean {
    return this.devices.size === 0
  }

  get viable(): boolean {
    const { dmaOwner, dmaOwnerClaimed } = this.iommuGroup
    return (!dmaOwnerClaimed || dmaOwner === this) && [...this.devices].every((device) => device.available)
  }

  explain(): string {
    const missing = [...this.devices].filter((device) => !device.available).map(({ device }) => device.name)
    return missing.length > 0 ? `${missing.join(', ')} is not bound` : 'a host driver, or another user, has its DMA'
  }

  /** `VFIO_GROUP_GET_INFO`: the flags. @throws {VfioError} ENODEV its devices were taken away */
  flags(): number {
    this.#alive('VFIO_GROUP_GET_INFO')
    const locked = this.#merged.locked ? VFIO_GROUP_FLAGS_MM_LOCKED : 0
    return locked | (this.viable ? VFIO_GROUP_FLAGS_VIABLE : 0)
  }

  /** Takes the group's DMA away from host drivers. @throws {VfioError} EPERM one of them does DMA */
  claimDma(): void {
    this.iommuGroup.claimDmaOwner(this)
  }

  /** Gives it back. */
  releaseDma(): void {
    this.iommuGroup.releaseDmaOwner()
  }

  /** The group is opened once more. @throws {VfioError} ENODEV its devices were taken away */
  open(): void {
    this.#alive('open')
    this.#files++
  }

  /** It is closed once. */
  close(): void {
    this.#files--
    this.#settle()
  }

  /**
   * `VFIO_GROUP_MERGE`: takes `other` into the groups that this one shares its IOMMU with.
   * @throws {VfioError} ENODEV the devices of one were taken away, EINVAL they share one already, EBUSY `other` is in use or merged with others;
   * where the IOMMU is in use also EPERM not viable or another process', and what the IOMMU refuses with
   */
  merge(other: DeviceGroup, task: Task): void {
    const operation = 'VFIO_GROUP_MERGE'
    this.#alive(operation)
    other.#alive(operation)
    if (other.#merged === this.#merged) {
      throw new VfioError('EINVAL', operation, { reason: `${other.name} shares the IOMMU of ${this.name} already` })
    }
    if (other.#merged.locked || other.#openDevices > 0) {
      throw new VfioError('EBUSY', operation, {
        reason: `${other.name} is in use`,
        remedy: 'close its IOMMU and its devices first',
      })
    }
    if (other.#merged.groups.length > 1) {
      throw new VfioError('EBUSY', operation, {
        reason: `${other.name} is merged with others`,
        remedy: 'unmerge it first',
      })
    }
    this.#merged.add(other, task, operation)
    other.#merged = this.#merged
  }

  /** `VFIO_GROUP_UNMERGE`: it has an IOMMU of its own again. @throws {VfioError} EINVAL it is not merged, EBUSY a device of it is open */
  unmerge(): void {
    const operation = 'VFIO_GROUP_UNMERGE'
    if (this.#merged.groups.length === 1)
      throw new VfioError('EINVAL', operation, { reason: `${this.name} is not merged` })
    if (this.#openDevices > 0) {
      throw new VfioError('EBUSY', operation, {
        reason: `a device of ${this.name} is open`,
        remedy: 'close the devices of the group first',
      })
    }
    this.#leave()
  }

  /** Finds what `VFIO_GROUP_GET_DEVICE_FD` asks for. @throws {VfioError} ENODEV no device of the group is meant */
  find(name: string): AddedDevice {
    for (const device of this.devices) if (device.available && device.matches(name)) return device
    const names = [...this.devices].map(({ device }) => device.name).join(', ')
    throw new VfioError('ENODEV', 'VFIO_GROUP_GET_DEVICE_FD', {
      reason: `group ${this.name} has no device '${name}'`,
      ...(names === '' ? {} : { remedy: `it has ${names}` }),
    })
  }

  /** A device of it is opened for `task`. @throws {VfioError} as `MergedGroups.hold` */
  holdDevice(task: Task): void {
    this.#merged.hold(task, 'VFIO_GROUP_GET_DEVICE_FD')
    this.#openDevices++
  }

  /** Such a device is closed. */
  releaseDevice(): void {
    this.#openDevices--
    this.#merged.release()
    this.#settle()
  }

  /** A group that nobody has open leaves those that it was merged with, as soon as their IOMMU is not in use. */
  idle(): void {
    this.#settle()
  }

  /** A device was taken away. */
  shrunk(): void {
    this.#settle()
  }

  #settle(): void {
    const unused = this.gone || (this.#files === 0 && !this.#merged.locked)
    if (unused && this.#openDevices === 0 && this.#merged.groups.length > 1) this.#leave()
  }

  #leave(): void {
    this.#merged.remove(this)
    this.#merged = new MergedGroups(this, this.#makeContainer)
  }

  #alive(operation: string): void {
    if (this.gone) throw new VfioError('ENODEV', operation, { reason: `group ${this.name} is gone` })
  }
}
