/** A group's place in a container: what its devices are opened through. */
import { VfioError } from '../errors.ts'
import type { DmaAccess } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import type { AttachableGroup, AttachedDevice, IommuBackend } from './iommu-driver.ts'

/** What an attachment needs of its container. */
export interface AttachmentHost<G extends AttachableGroup> {
  requireBackend(operation: string): IommuBackend
  detach(group: G): void
}

/** Joins a group and a container until one of them lets go. */
export class ContainerAttachment<G extends AttachableGroup = AttachableGroup> {
  /** A device that is open keeps the group open and attached. */
  readonly holdsGroup = true
  readonly #container: AttachmentHost<G>
  readonly #group: G
  readonly #open = new Map<AttachedDevice, IommuBackend>()
  #detached = false

  /** Made by `VfioContainer.attach()`. */
  constructor(container: AttachmentHost<G>, group: G) {
    this.#container = container
    this.#group = group
  }

  /**
   * Gives a device that is being opened its view of memory.
   * @throws {VfioError} EINVAL the container has no IOMMU yet, EPERM no right to a device without isolation
   */
  openDevice(task: Task, device: AttachedDevice): DmaAccess | undefined {
    const backend = this.#container.requireBackend('VFIO_GROUP_GET_DEVICE_FD')
    if (this.#group.kind === 'noiommu' && !task.capable('CAP_SYS_RAWIO')) {
      throw new VfioError('EPERM', 'VFIO_GROUP_GET_DEVICE_FD', {
        reason: 'a device without isolation needs CAP_SYS_RAWIO',
      })
    }
    const dma = backend.openDevice(this.#group, device)
    this.#open.set(device, backend)
    return dma
  }

  /** Takes the view away again. */
  closeDevice(device: AttachedDevice): void {
    const backend = this.#open.get(device)
    if (!this.#open.delete(device)) return
    backend?.closeDevice(this.#group, device)
  }

  /** Takes the group out of the container (idempotent). */
  detach(): void {
    if (this.#detached) return
    this.#detached = true
    this.#container.detach(this.#group)
  }
}
