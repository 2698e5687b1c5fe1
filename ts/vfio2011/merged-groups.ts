/**
 * Groups that share an IOMMU: one group by itself, or several that were merged.
 *
 * The IOMMU comes with its first user (who opened it, or a device) and is gone with the last, its mappings too. Meanwhile it
 * belongs to the memory of one process.
 */
import type { ContainerAttachment } from '../container/container-attachment.ts'
import type { DmaMapper } from '../container/dma-mapper.ts'
import type { ContainerGroup, VfioContainer } from '../container/vfio-container.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { VFIO_TYPE1v2_IOMMU } from '../uapi/constants.ts'

/** A group as the IOMMU needs it. */
export interface MergeableGroup extends ContainerGroup {
  /** Whether every device of it is bound to its driver. */
  readonly viable: boolean
  /** Why it is not viable, in a clause. */
  explain(): string
  /** The IOMMU that it shares is no longer in use. */
  idle(): void
}

/** The IOMMU while somebody uses it. */
interface Use {
  readonly mm: NativeAddressSpace
  readonly container: VfioContainer
  readonly places: Map<MergeableGroup, ContainerAttachment<ContainerGroup>>
}

/** Groups and their IOMMU. */
export class MergedGroups {
  readonly #groups = new Set<MergeableGroup>()
  readonly #makeContainer: () => VfioContainer
  #use: Use | undefined
  #users = 0

  constructor(first: MergeableGroup, makeContainer: () => VfioContainer) {
    this.#groups.add(first)
    this.#makeContainer = makeContainer
  }

  /** The groups, in the order in which they were merged. */
  get groups(): readonly MergeableGroup[] {
    return [...this.#groups]
  }

  /** Whether the IOMMU is in use, by the memory of one process. */
  get locked(): boolean {
    return this.#use !== undefined
  }

  /**
   * One more user of the IOMMU, which the first one sets up.
   * @throws {VfioError} EPERM a group is not viable, or another process uses the IOMMU; ENODEV the machine has none of this kind;
   * and what the IOMMU refuses with
   */
  hold(task: Task, operation: string): void {
    if (this.#use !== undefined) this.#requireMemory(this.#use, task, operation)
    for (const group of this.#groups) requireViable(group, operation)
    this.#use ??= this.#start(task)
    this.#users++
  }

  /** One less; the last one takes the IOMMU with it. */
  release(): void {
    if (--this.#users > 0) return
    const use = this.#use
    this.#use = undefined
    for (const place of use?.places.values() ?? []) place.detach()
    for (const group of this.groups) group.idle()
  }

  /** Takes another group in, which is attached at once where the IOMMU is in use. @throws {VfioError} EPERM, and what the IOMMU refuses with */
  add(group: MergeableGroup, task: Task, operation: string): void {
    const use = this.#use
    if (use !== undefined) {
      this.#requireMemory(use, task, operation)
      requireViable(group, operation)
      use.places.set(group, use.container.attach(task, group))
    }
    this.#groups.add(group)
  }

  /** Lets a group go, whose devices are closed. */
  remove(group: MergeableGroup): void {
    if (!this.#groups.delete(group)) return
    this.#use?.places.get(group)?.detach()
    this.#use?.places.delete(group)
  }

  /** The place that devices of a group are opened through. @throws {VfioError} ENODEV the IOMMU is not in use */
  place(group: MergeableGroup): ContainerAttachment<ContainerGroup> {
    const place = this.#use?.places.get(group)
    if (place === undefined) throw new VfioError('ENODEV', 'VFIO_GROUP_GET_DEVICE_FD')
    return place
  }

  /** What maps, for one who uses the IOMMU. @throws {VfioError} EPERM another process does */
  mapper(task: Task, operation: string): DmaMapper {
    const use = this.#use
    if (use === undefined) throw new VfioError('EBADF', operation, { reason: 'the IOMMU is closed' })
    this.#requireMemory(use, task, operation)
    const { mapper } = use.container.requireBackend(operation)
    if (mapper === undefined) throw new VfioError('ENOTTY', operation)
    return mapper
  }

  #start(task: Task): Use {
    const use: Use = { mm: task.mm, container: this.#makeContainer(), places: new Map() }
    try {
      for (const group of this.#groups) use.places.set(group, use.container.attach(task, group))
      use.container.setIommu(task, VFIO_TYPE1v2_IOMMU)
    } catch (error) {
      for (const place of use.places.values()) place.detach()
      throw error
    }
    return use
  }

  #requireMemory(use: Use, task: Task, operation: string): void {
    if (use.mm === task.mm) return
    throw new VfioError('EPERM', operation, {
      reason: 'another process uses the IOMMU',
      remedy: 'wait until it has closed the IOMMU and all devices',
    })
  }
}

function requireViable(group: MergeableGroup, operation: string): void {
  if (group.viable) return
  throw new VfioError('EPERM', operation, { reason: `group ${group.name} is not viable: ${group.explain()}` })
}
