/**
 * A container: groups that share an IOMMU, and the driver behind it (`struct vfio_container`).
 *
 * Files and typed handles refer to it, and so does every attached group; it lives as long as any of them.
 */
import { VfioError } from '../errors.ts'
import type { IoctlArgument } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { VFIO_API_VERSION } from '../uapi/constants.ts'
import type { IommuDriverRegistry } from './driver-registry.ts'
import { ContainerAttachment } from './container-attachment.ts'
import { HeldMemory } from './held-memory.ts'
import type { AttachableGroup, IommuBackend, IommuDriver } from './iommu-driver.ts'

/** A group as the container attaches it. */
export interface ContainerGroup extends AttachableGroup {
  /** Takes the group's DMA away from host drivers. @throws {VfioError} EPERM one of them does DMA: not viable */
  claimDma(): void
  /** Gives it back. */
  releaseDma(): void
}

/** A set of groups with one IOMMU. */
export class VfioContainer {
  readonly #drivers: IommuDriverRegistry
  readonly #groups = new Set<ContainerGroup>()
  readonly #held = new HeldMemory()
  #backend: IommuBackend | undefined
  #emulated = 0
  #noiommu = false

  constructor(drivers: IommuDriverRegistry) {
    this.#drivers = drivers
  }

  /** The IOMMU, once a model was chosen and while a group is attached. */
  get backend(): IommuBackend | undefined {
    return this.#backend
  }

  /** Memory that mediated devices may still ask for; undefined where none is attached. */
  get held(): HeldMemory | undefined {
    return this.#emulated > 0 ? this.#held : undefined
  }

  /** How many groups are attached. */
  get groupCount(): number {
    return this.#groups.size
  }

  /** `VFIO_GET_API_VERSION`. */
  apiVersion(): number {
    return VFIO_API_VERSION
  }

  /** `VFIO_CHECK_EXTENSION`: asks the chosen driver, or before that the first one that affirms it; 0 is no. */
  checkExtension(extension: number): number {
    if (this.#backend !== undefined) return this.#backend.checkExtension(extension)
    for (const driver of this.#drivers) {
      if (this.#groups.size > 0 && !this.#serves(driver)) continue
      const answer = driver.checkExtension(extension)
      if (answer > 0) return answer
    }
    return 0
  }

  /**
   * `VFIO_SET_IOMMU`: the first driver that affirms `model`, and can attach all groups, serves the container.
   * @throws {VfioError} EINVAL no group or a model already, ENODEV nobody knows the model, else what the last driver refused with
   */
  setIommu(task: Task, model: number): void {
    if (this.#groups.size === 0) {
      throw refuse('EINVAL', 'no group is attached', 'put a group into the container first')
    }
    if (this.#backend !== undefined) throw refuse('EINVAL', `model ${this.#backend.model} was chosen already`)
    let refusal: unknown = refuse(
      'ENODEV',
      `no IOMMU driver knows model ${model}`,
      'checkExtension() tells which are there; VFIO_TYPE1v2_IOMMU is the usual one',
    )
    for (const driver of this.#drivers) {
      if (!this.#serves(driver) || driver.checkExtension(model) <= 0) continue
      try {
        this.#backend = this.#start(driver, task, model)
        return
      } catch (error) {
        refusal = error
      }
    }
    throw refusal
  }

  /**
   * Attaches a group (the container's part of `VFIO_GROUP_SET_CONTAINER`).
   * @throws {VfioError} EPERM no right to a group without isolation, such and isolated ones together, or not viable; and
   * what the IOMMU refuses with
   */
  attach(task: Task, group: ContainerGroup): ContainerAttachment<ContainerGroup> {
    const noiommu = group.kind === 'noiommu'
    if (noiommu && !task.capable('CAP_SYS_RAWIO')) {
      throw new VfioError('EPERM', 'VFIO_GROUP_SET_CONTAINER', {
        reason: 'a group without isolation needs CAP_SYS_RAWIO',
      })
    }
    if (this.#groups.size > 0 && this.#noiommu !== noiommu) {
      throw new VfioError('EPERM', 'VFIO_GROUP_SET_CONTAINER', {
        reason: 'groups with and without isolation cannot share a container',
        remedy: 'open another container',
      })
    }
    if (group.kind === 'iommu') group.claimDma()
    try {
      this.#backend?.attachGroup(group)
    } catch (error) {
      if (group.kind === 'iommu') group.releaseDma()
      throw error
    }
    this.#noiommu = noiommu
    this.#groups.add(group)
    if (group.kind === 'emulated') this.#emulated++
    return new ContainerAttachment(this, group)
  }

  /** Detaches a group; the last one takes the IOMMU and its mappings with it. */
  detach(group: ContainerGroup): void {
    if (!this.#groups.delete(group)) return
    if (group.kind === 'emulated') this.#emulated--
    const backend = this.#backend
    backend?.detachGroup(group)
    if (group.kind === 'iommu') group.releaseDma()
    if (backend === undefined || this.#groups.size > 0) return
    this.#backend = undefined
    this.#held.clear()
    backend.release()
  }

  /** An ioctl that the container does not know, for the IOMMU. @throws {VfioError} EINVAL no model chosen, ENOTTY unknown */
  ioctl(task: Task, request: number, argument: IoctlArgument): number {
    return this.requireBackend('ioctl').ioctl(request, argument, task.mm)
  }

  /** The IOMMU. @throws {VfioError} EINVAL no model was chosen */
  requireBackend(operation: string): IommuBackend {
    if (this.#backend === undefined) {
      throw new VfioError('EINVAL', operation, {
        reason: 'the container has no IOMMU',
        remedy:
          this.#groups.size === 0 ? 'put a group into it, then choose a model' : 'choose a model with VFIO_SET_IOMMU',
      })
    }
    return this.#backend
  }

  #serves(driver: IommuDriver): boolean {
    return (driver.noiommu === true) === this.#noiommu
  }

  #start(driver: IommuDriver, task: Task, model: number): IommuBackend {
    const backend = driver.open(model, task)
    const attached: ContainerGroup[] = []
    try {
      for (const group of this.#groups) {
        backend.attachGroup(group)
        attached.push(group)
      }
    } catch (error) {
      for (const group of attached.reverse()) backend.detachGroup(group)
      backend.release()
      throw error
    }
    return backend
  }
}

function refuse(code: 'EINVAL' | 'ENODEV', reason: string, remedy?: string): VfioError {
  return new VfioError(code, 'VFIO_SET_IOMMU', remedy === undefined ? { reason } : { reason, remedy })
}
