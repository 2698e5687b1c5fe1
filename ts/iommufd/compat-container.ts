/** An iommufd in a container's place: what `VFIO_GROUP_SET_CONTAINER` takes. */
import type { DmaAccess } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import type { GroupAttachment, GroupContainer, VfioGroup } from '../group/vfio-group.ts'
import { BoundDevice } from './bound-device.ts'
import type { IommufdContext } from './context.ts'
import type { MachineIommu } from './hardware.ts'

/** Lets groups use an iommufd as their container. */
export class CompatContainer implements GroupContainer {
  readonly #context: IommufdContext
  readonly #iommu: MachineIommu

  constructor(context: IommufdContext, iommu: MachineIommu) {
    this.#context = context
    this.#iommu = iommu
  }

  /** Attaches a group: an address space takes the container's place. @throws {VfioError} EINVAL groups with and without isolation */
  attach(_task: Task, group: VfioGroup): GroupAttachment {
    const context = this.#context
    const without = group.kind === 'noiommu'
    const conflict = without ? context.compat !== undefined : context.noIommu
    if (conflict) {
      throw new VfioError('EINVAL', 'VFIO_GROUP_SET_CONTAINER', {
        reason: 'groups with and without isolation cannot share an iommufd',
      })
    }
    if (without) context.noIommu = true
    else context.compat ??= context.allocIoas()
    context.hold()
    return new CompatAttachment(context, group, this.#iommu)
  }
}

class CompatAttachment implements GroupAttachment {
  /** A device that is open holds the iommufd itself. */
  readonly holdsGroup = false
  readonly #context: IommufdContext
  readonly #group: VfioGroup
  readonly #iommu: MachineIommu
  readonly #bound = new Map<object, BoundDevice>()
  #detached = false

  constructor(context: IommufdContext, group: VfioGroup, iommu: MachineIommu) {
    this.#context = context
    this.#group = group
    this.#iommu = iommu
  }

  openDevice(task: Task, device: VfioDevice): DmaAccess | undefined {
    if (this.#group.kind === 'noiommu') {
      if (task.capable('CAP_SYS_RAWIO')) return undefined
      throw new VfioError('EPERM', 'VFIO_GROUP_GET_DEVICE_FD', {
        reason: 'a device without isolation needs CAP_SYS_RAWIO',
      })
    }
    const bound = new BoundDevice('group', this.#context, this.#group, this.#iommu)
    const dma = bound.openDevice(device)
    try {
      bound.attach(this.#context.requireCompat('VFIO_GROUP_GET_DEVICE_FD').id)
    } catch (error) {
      bound.closeDevice()
      throw error
    }
    this.#bound.set(device, bound)
    return dma
  }

  closeDevice(device: object): void {
    this.#bound.get(device)?.closeDevice()
    this.#bound.delete(device)
  }

  detach(): void {
    if (this.#detached) return
    this.#detached = true
    this.#context.release()
  }
}
