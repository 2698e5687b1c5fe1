/** Devices bound to an iommufd (`IOMMUFD_OBJ_DEVICE`), and the groups that they are attached in. */
import { VfioError } from '../errors.ts'
import type { NativeDevicePort } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import { compatible, type IommuHardware } from './hardware.ts'
import { HwptNested } from './hwpt-nested.ts'
import { HwptPaging } from './hwpt.ts'
import { IoasObject } from './ioas.ts'
import { IommufdObject, type ObjectTable } from './object.ts'
import type { Vdevice } from './viommu.ts'

const OPERATION = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'

/** A page table of either kind. */
export type AnyHwpt = HwptPaging | HwptNested

/** What devices of a group are attached to, without a PASID or with one. */
interface Attachment {
  readonly hwpt: AnyHwpt
  readonly devices: Set<IommufdDevice>
}

/** Devices that the IOMMU cannot tell apart: they are attached to one page table for each PASID. */
export class AttachGroup {
  /** By PASID; 0 is the devices without one. */
  readonly attachments = new Map<number, Attachment>()
}

/** A device whose DMA the iommufd decides about. */
export class IommufdDevice extends IommufdObject {
  readonly kind = 'device'
  readonly hardware: IommuHardware
  readonly port: NativeDevicePort | undefined
  /** How a guest knows it. */
  vdevice: Vdevice | undefined
  readonly #objects: ObjectTable
  readonly #group: AttachGroup

  constructor(objects: ObjectTable, group: AttachGroup, hardware: IommuHardware, port?: NativeDevicePort) {
    super()
    this.#objects = objects
    this.#group = group
    this.hardware = hardware
    this.port = port
  }

  /** The page table that it, or a PASID of it, is attached to. */
  hwpt(pasid = 0): AnyHwpt | undefined {
    const attachment = this.#group.attachments.get(pasid)
    return attachment?.devices.has(this) ? attachment.hwpt : undefined
  }

  /**
   * Attaches to a page table, or to one that shows an address space; returns the id of the page table.
   * @throws {VfioError} ENOENT, EINVAL neither of the two, or the group is attached to another, or no such PASID; EBUSY attached;
   * EADDRINUSE what is mapped cannot be shown; EFAULT, ENOMEM
   */
  attach(ptId: number, pasid = 0): number {
    return this.#changeTo(ptId, pasid, (hwpt) => this.#attachTo(hwpt, pasid))
  }

  /** Moves to another page table or address space. @throws {VfioError} as {@link attach}; EINVAL not attached */
  replace(ptId: number, pasid = 0): number {
    return this.#changeTo(ptId, pasid, (hwpt) => this.#moveTo(hwpt, pasid))
  }

  /** Detaches (idempotent); a page table that was made for it goes with its last device. */
  detach(pasid = 0): void {
    const hwpt = this.hwpt(pasid)
    if (hwpt === undefined) return
    this.port?.detach(pasid)
    const { attachments } = this.#group
    const devices = attachments.get(pasid)?.devices
    devices?.delete(this)
    if (devices?.size === 0) attachments.delete(pasid)
    if (pasid === 0) hwpt.paging.ioas.native.unreserve(this.id)
    this.#put(hwpt)
  }

  /** Detaches it and all its PASIDs; how a guest knows it goes too. */
  leave(): void {
    for (const pasid of [...this.#group.attachments.keys()]) this.detach(pasid)
    if (this.vdevice !== undefined) this.#objects.entomb(this.vdevice)
  }

  destroy(): void {
    this.leave()
  }

  #changeTo(ptId: number, pasid: number, change: (hwpt: AnyHwpt) => AnyHwpt | undefined): number {
    const target = this.#objects.get(ptId, OPERATION)
    if (target instanceof HwptPaging || target instanceof HwptNested) {
      const old = change(target)
      if (old !== undefined) this.#put(old)
      return target.id
    }
    if (!(target instanceof IoasObject)) {
      throw new VfioError('EINVAL', OPERATION, { reason: `object ${ptId} is of kind ${target.kind}` })
    }
    const { hwpt, old } = this.#automatic(target, pasid, change)
    if (old !== undefined) this.#put(old)
    return hwpt.id
  }

  /** Uses an automatic page table of the address space that suits the device, or makes one. */
  #automatic(
    ioas: IoasObject,
    pasid: number,
    change: (hwpt: AnyHwpt) => AnyHwpt | undefined,
  ): { hwpt: HwptPaging; old: AnyHwpt | undefined } {
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
    const reserved = pasid === 0 && this.hwpt()?.paging.ioas !== ioas && this.#reserve(hwpt)
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

  #attachTo(hwpt: AnyHwpt, pasid: number): undefined {
    const { attachments } = this.#group
    const there = attachments.get(pasid)
    if (there?.devices.has(this)) throw new VfioError('EBUSY', OPERATION, { reason: 'it is attached already' })
    if (there !== undefined && there.hwpt !== hwpt) {
      throw new VfioError('EINVAL', OPERATION, { reason: 'another device of the group is attached elsewhere' })
    }
    const lead = this.#fit(hwpt, pasid)
    if (pasid === 0) this.#reserve(hwpt.paging)
    if (there === undefined) attachments.set(pasid, { hwpt, devices: new Set([this]) })
    else there.devices.add(this)
    hwpt.hold()
    lead()
  }

  #moveTo(hwpt: AnyHwpt, pasid: number): AnyHwpt | undefined {
    const { attachments } = this.#group
    const old = this.hwpt(pasid)
    const devices = attachments.get(pasid)?.devices
    if (old === undefined || devices === undefined) {
      throw new VfioError('EINVAL', OPERATION, { reason: 'it is not attached' })
    }
    if (old === hwpt) return undefined
    const leads = [...devices].map((device) => device.#fit(hwpt, pasid))
    const elsewhere = pasid === 0 && old.paging.ioas !== hwpt.paging.ioas
    if (elsewhere) this.#reserveAll(devices, hwpt.paging)
    attachments.set(pasid, { hwpt, devices })
    for (const lead of leads) lead()
    let last: AnyHwpt | undefined
    for (const device of devices) {
      hwpt.hold()
      if (elsewhere) old.paging.ioas.native.unreserve(device.id)
      if (last !== undefined) old.release()
      last = old
    }
    return last
  }

  /** Makes sure that a page table suits; returns what leads the device there. @throws {VfioError} EINVAL, ENOENT no virtual device */
  #fit(hwpt: AnyHwpt, pasid: number): () => void {
    this.#checkFits(hwpt, pasid)
    const { id: device, port } = this
    const requests = hwpt.faults?.native
    if (hwpt instanceof HwptPaging) {
      return () => port?.attachDomain(pasid, hwpt.native, hwpt.ioas.native, { device, requests })
    }
    const { viommu, table } = hwpt
    const virtId = viommu?.virtIdOf(this)
    if (viommu !== undefined && virtId === undefined) {
      throw new VfioError('ENOENT', OPERATION, {
        reason: 'the virtual IOMMU does not know the device',
        remedy: 'IOMMU_VDEVICE_ALLOC first',
      })
    }
    const native = viommu?.driver.native
    const events = native === undefined || virtId === undefined ? undefined : { viommu: native, virtId }
    return () => {
      if (table.native !== undefined) port?.attachNested(pasid, table.native, { device, requests, events })
    }
  }

  #checkFits(hwpt: AnyHwpt, pasid: number): void {
    const { paging } = hwpt
    const dirty = !paging.tracksDirty || (this.hardware.capabilities & 1n) !== 0n
    if (!compatible(paging.hardware, this.hardware) || !dirty) {
      throw new VfioError('EINVAL', OPERATION, { reason: 'the page table is for another kind of IOMMU' })
    }
    const { attachments } = this.#group
    const refuse = (reason: string) => new VfioError('EINVAL', OPERATION, { reason })
    if (pasid === 0) {
      const others = [...attachments.keys()].some((other) => other !== 0)
      if (others && !hwpt.pasid) throw refuse('PASIDs are attached, which the page table was not made for')
      return
    }
    if (pasid >= 2 ** this.hardware.maxPasidLog2) throw refuse(`the device has no PASID ${pasid}`)
    if (!hwpt.pasid || attachments.get(0)?.hwpt.pasid === false) {
      throw refuse('a page table was not made for PASIDs (IOMMU_HWPT_ALLOC_PASID)')
    }
  }

  #reserveAll(devices: Iterable<IommufdDevice>, hwpt: HwptPaging): void {
    const reserved: IommufdDevice[] = []
    try {
      for (const device of devices) {
        device.#reserve(hwpt)
        reserved.push(device)
      }
    } catch (error) {
      for (const device of reserved) hwpt.ioas.native.unreserve(device.id)
      throw error
    }
  }

  /** Keeps mappings away from where the device cannot reach; tells whether there is such a place. */
  #reserve(hwpt: HwptPaging): boolean {
    const { reserved } = this.hardware
    if (reserved.length === 0) return false
    syscall(OPERATION, () => hwpt.ioas.native.reserve(reserved, this.id))
    return true
  }

  /** One device less uses a page table. */
  #put(hwpt: AnyHwpt): void {
    hwpt.release()
    if (!hwpt.auto || hwpt.users > 0) return
    this.#objects.remove(hwpt)
    hwpt.destroy()
  }
}
