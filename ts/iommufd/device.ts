/** Devices bound to an iommufd (`IOMMUFD_OBJ_DEVICE`), and the groups that they are attached in. */
import { VfioError } from '../errors.ts'
import type { NativeDevicePort } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import { compatible, type IommuHardware } from './hardware.ts'
import { HwptPaging } from './hwpt.ts'
import { IoasObject } from './ioas.ts'
import { IommufdObject, type ObjectTable } from './object.ts'

const OPERATION = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'

/** Devices that the IOMMU cannot tell apart: they are attached to one page table. */
export class AttachGroup {
  /** Devices that are attached. */
  readonly devices = new Set<IommufdDevice>()
  hwpt: HwptPaging | undefined
}

/** A device whose DMA the iommufd decides about. */
export class IommufdDevice extends IommufdObject {
  readonly kind = 'device'
  readonly hardware: IommuHardware
  readonly #objects: ObjectTable
  readonly #group: AttachGroup
  readonly #port: NativeDevicePort | undefined

  constructor(objects: ObjectTable, group: AttachGroup, hardware: IommuHardware, port?: NativeDevicePort) {
    super()
    this.#objects = objects
    this.#group = group
    this.hardware = hardware
    this.#port = port
  }

  /** The page table that it is attached to. */
  get hwpt(): HwptPaging | undefined {
    return this.#group.devices.has(this) ? this.#group.hwpt : undefined
  }

  /**
   * Attaches to a page table, or to one that shows an address space; returns the id of the page table.
   * @throws {VfioError} ENOENT, EINVAL neither of the two, or the group is attached to another; EBUSY attached;
   * EADDRINUSE what is mapped cannot be shown; EFAULT, ENOMEM
   */
  attach(ptId: number): number {
    return this.#changeTo(ptId, (hwpt) => this.#attachTo(hwpt))
  }

  /** Moves to another page table or address space. @throws {VfioError} as {@link attach}; EINVAL not attached */
  replace(ptId: number): number {
    return this.#changeTo(ptId, (hwpt) => this.#moveTo(hwpt))
  }

  /** Detaches (idempotent); a page table that was made for it goes with its last device. */
  detach(): void {
    const { hwpt } = this
    if (hwpt === undefined) return
    this.#port?.detach()
    this.#group.devices.delete(this)
    if (this.#group.devices.size === 0) this.#group.hwpt = undefined
    hwpt.ioas.native.unreserve(this.id)
    this.#put(hwpt)
  }

  destroy(): void {
    this.detach()
  }

  #changeTo(ptId: number, change: (hwpt: HwptPaging) => HwptPaging | undefined): number {
    const target = this.#objects.get(ptId, OPERATION)
    if (target instanceof HwptPaging) {
      const old = change(target)
      if (old !== undefined) this.#put(old)
      return target.id
    }
    if (!(target instanceof IoasObject)) {
      throw new VfioError('EINVAL', OPERATION, { reason: `object ${ptId} is of kind ${target.kind}` })
    }
    const { hwpt, old } = this.#automatic(target, change)
    if (old !== undefined) this.#put(old)
    return hwpt.id
  }

  /** Uses an automatic page table of the address space that suits the device, or makes one. */
  #automatic(
    ioas: IoasObject,
    change: (hwpt: HwptPaging) => HwptPaging | undefined,
  ): { hwpt: HwptPaging; old: HwptPaging | undefined } {
    for (const hwpt of ioas.hwpts) {
      if (!(hwpt instanceof HwptPaging) || !hwpt.auto) continue
      try {
        return { hwpt, old: change(hwpt) }
      } catch (error) {
        if (!(error instanceof VfioError) || error.code !== 'EINVAL') throw error
      }
    }
    const hwpt = new HwptPaging(ioas, this.hardware, 0, true)
    // What the device cannot reach is reserved before what is mapped gets shown.
    const reserved = this.hwpt?.ioas !== ioas && this.#reserve(hwpt)
    try {
      hwpt.enter()
    } finally {
      if (reserved) ioas.native.unreserve(this.id)
    }
    this.#objects.add(hwpt)
    try {
      return { hwpt, old: change(hwpt) }
    } catch (error) {
      this.#objects.remove(hwpt)
      hwpt.destroy()
      throw error
    }
  }

  #attachTo(hwpt: HwptPaging): undefined {
    const group = this.#group
    if (group.hwpt !== undefined && group.hwpt !== hwpt) {
      throw new VfioError('EINVAL', OPERATION, { reason: 'another device of the group is attached elsewhere' })
    }
    if (group.devices.has(this)) throw new VfioError('EBUSY', OPERATION, { reason: 'it is attached already' })
    this.#checkFits(hwpt)
    this.#reserve(hwpt)
    group.hwpt = hwpt
    group.devices.add(this)
    hwpt.hold()
    this.#port?.attachDomain(hwpt.native, hwpt.ioas.native)
  }

  #moveTo(hwpt: HwptPaging): HwptPaging | undefined {
    const group = this.#group
    const old = this.hwpt
    if (old === undefined) throw new VfioError('EINVAL', OPERATION, { reason: 'it is not attached' })
    if (old === hwpt) return undefined
    this.#checkFits(hwpt)
    if (old.ioas !== hwpt.ioas) {
      const reserved: IommufdDevice[] = []
      try {
        for (const device of group.devices) {
          device.#reserve(hwpt)
          reserved.push(device)
        }
      } catch (error) {
        for (const device of reserved) hwpt.ioas.native.unreserve(device.id)
        throw error
      }
    }
    group.hwpt = hwpt
    let last: HwptPaging | undefined
    for (const device of group.devices) {
      hwpt.hold()
      device.#port?.attachDomain(hwpt.native, hwpt.ioas.native)
      if (old.ioas !== hwpt.ioas) old.ioas.native.unreserve(device.id)
      if (last !== undefined) old.release()
      last = old
    }
    return last
  }

  #checkFits(hwpt: HwptPaging): void {
    const dirty = !hwpt.tracksDirty || (this.hardware.capabilities & 1n) !== 0n
    if (compatible(hwpt.hardware, this.hardware) && dirty) return
    throw new VfioError('EINVAL', OPERATION, { reason: 'the page table is for another kind of IOMMU' })
  }

  /** Keeps mappings away from where the device cannot reach; tells whether there is such a place. */
  #reserve(hwpt: HwptPaging): boolean {
    const { reserved } = this.hardware
    if (reserved.length === 0) return false
    syscall(OPERATION, () => hwpt.ioas.native.reserve(reserved, this.id))
    return true
  }

  /** One device less uses a page table. */
  #put(hwpt: HwptPaging): void {
    hwpt.release()
    if (!hwpt.auto || hwpt.users > 0) return
    this.#objects.remove(hwpt)
    hwpt.destroy()
  }
}
