/**
 * A VFIO device bound to an iommufd: what stands between an open device and memory, by its own file or by a group that
 * uses the iommufd as a container.
 */
import { Dma } from '../device/dma.ts'
import type { DmaAccess } from '../device/ops.ts'
import type { DeviceAccess, VfioDevice } from '../device/vfio-device.ts'
import { VfioError, warnOfModel } from '../errors.ts'
import type { VfioGroup } from '../group/vfio-group.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { IommufdAccess, notForAccess } from './access.ts'
import type { IommufdContext } from './context.ts'
import { IommufdDevice } from './device.ts'
import { type IommuHardware, machineHardware, type MachineIommu, noHardware } from './hardware.ts'

const ATTACH = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'

/** Binds a device while it is open. */
export class BoundDevice implements DeviceAccess {
  readonly kind: 'group' | 'cdev'
  readonly context: IommufdContext
  readonly #group: VfioGroup
  readonly #iommu: MachineIommu
  #object: IommufdDevice | IommufdAccess | undefined
  #device: VfioDevice | undefined
  /** What it is attached to, as the user named it. */
  #target: number | undefined
  /** PASIDs that were attached; 0 is the device without one. */
  readonly #pasids = new Set<number>()

  constructor(kind: 'group' | 'cdev', context: IommufdContext, group: VfioGroup, iommu: MachineIommu) {
    this.kind = kind
    this.context = context
    this.#group = group
    this.#iommu = iommu
  }

  /** Id of the device within the iommufd; 0 while it is not bound. */
  get id(): number {
    return this.#object?.id ?? 0
  }

  /** Binds the device. @throws {VfioError} EPERM a host driver, or another owner, uses the DMA of its group */
  openDevice(device: VfioDevice): DmaAccess {
    const { kind, iommuGroup } = this.#group
    const { objects, faults } = this.context
    const port = syscall('VFIO_DEVICE_BIND_IOMMUFD', () => new (addon().iommufd.DevicePort)(device.name, faults))
    if (kind === 'emulated') {
      const { ops } = device
      const access = new IommufdAccess(objects, true, (iova, length) => ops.dmaUnmap?.(iova, length))
      port.attachAccess(access.native)
      this.#object = objects.add(access)
    } else {
      if (kind === 'iommu') iommuGroup.claimDeviceDmaOwner(this.context)
      const group = this.context.attachGroup(iommuGroup)
      this.#object = objects.add(new IommufdDevice(objects, group, this.#hardware(), port))
    }
    this.#object.hold()
    this.context.hold()
    this.#device = device
    try {
      device.ops.bindIommufd?.(this.#object.id)
    } catch (error) {
      this.#unbind()
      throw error
    }
    return new Dma(port.dma())
  }

  /** Unbinds it; the driver hears of it afterwards. */
  closeDevice(): void {
    if (this.#object === undefined) return
    this.#unbind()
    tell(() => this.#device?.ops.unbindIommufd?.())
  }

  #unbind(): void {
    const object = this.#object
    if (object === undefined) return
    this.#object = undefined
    this.#target = undefined
    this.#pasids.clear()
    if (object instanceof IommufdDevice) object.leave()
    else object.detach()
    object.release()
    this.context.objects.remove(object)
    if (this.#group.kind === 'iommu') this.#group.iommuGroup.releaseDeviceDmaOwner()
    this.context.release()
  }

  /** `VFIO_DEVICE_ATTACH_IOMMUFD_PT`: returns the id of what it is attached to. @throws {VfioError} as the objects' */
  attach(ptId: number): number {
    const before = this.#target
    const id = this.#move(ptId)
    try {
      this.#device?.ops.attachIoas?.(id)
    } catch (error) {
      if (before === undefined) this.#leave()
      else this.#move(before)
      throw error
    }
    return id
  }

  /** Attaches it, or moves it from where it is. */
  #move(ptId: number): number {
    const object = this.#require(ATTACH)
    const there = this.#target !== undefined
    const id = there && object instanceof IommufdDevice ? object.replace(ptId) : object.attach(ptId)
    this.#target = ptId
    return id
  }

  #leave(): void {
    this.#target = undefined
    this.#object?.detach()
  }

  /** `VFIO_DEVICE_DETACH_IOMMUFD_PT` (idempotent). */
  detach(): void {
    this.#require('VFIO_DEVICE_DETACH_IOMMUFD_PT')
    if (this.#target === undefined) return
    this.#leave()
    tell(() => this.#device?.ops.detachIoas?.())
  }

  /** Refuses PASIDs where there are none at all. @throws {VfioError} EOPNOTSUPP a mediated device */
  requirePasids(operation: string): void {
    if (this.#object instanceof IommufdAccess) throw notForAccess(operation)
  }

  /** Attaches one PASID; 0 means the device without one. @throws {VfioError} EINVAL the device has no such PASID */
  attachPasid(pasid: number, ptId: number): number {
    const object = this.#requireDevice(ATTACH)
    const id = this.#pasids.has(pasid) ? object.replace(ptId, pasid) : object.attach(ptId, pasid)
    this.#pasids.add(pasid)
    return id
  }

  /** Detaches one PASID (idempotent). */
  detachPasid(pasid: number): void {
    const object = this.#requireDevice('VFIO_DEVICE_DETACH_IOMMUFD_PT')
    if (this.#pasids.delete(pasid)) object.detach(pasid)
  }

  #hardware(): IommuHardware {
    if (this.#group.kind === 'noiommu') return noHardware
    const { reserved } = this.#group
    const excluded = reserved.filter((region) => region.kind !== 'direct-relaxable')
    return machineHardware(
      this.#iommu,
      excluded.map(({ start, last }) => ({ start, last })),
    )
  }

  #require(operation: string): IommufdDevice | IommufdAccess {
    if (this.#object === undefined) throw new VfioError('EINVAL', operation, { reason: 'the device is not bound' })
    return this.#object
  }

  #requireDevice(operation: string): IommufdDevice {
    const object = this.#require(operation)
    if (object instanceof IommufdDevice) return object
    throw notForAccess(operation)
  }
}

/** Runs a callback that cannot refuse any more. */
function tell(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    warnOfModel(error)
  }
}
