/** A group as whoever runs the machine sees it: without opening it. */
import { GroupExplanation } from '../group/group-explanation.ts'
import type { GroupStatus } from '../group/group.ts'
import type { IommuGroup } from '../group/iommu-group.ts'
import type { VfioRegistry } from '../group/vfio-registry.ts'

/** A group of the machine, in use or not. */
export class GroupView {
  readonly #group: IommuGroup
  readonly #registry: VfioRegistry

  /**
   * Made by `host.group()` only.
   * @internal
   */
  constructor(group: IommuGroup, registry: VfioRegistry) {
    this.#group = group
    this.#registry = registry
  }

  /** Number of the IOMMU group. */
  get number(): number {
    return this.#group.number
  }

  /** Names of its devices, whatever drives them. */
  get devices(): readonly string[] {
    return this.#group.members.map((member) => member.name)
  }

  /** Whether it can be used, and is: what `VFIO_GROUP_GET_STATUS` would tell. */
  status(): GroupStatus {
    const vfio = this.#registry.group(this.number)
    return { viable: vfio?.viable ?? !this.#group.dmaOwnerClaimed, containerSet: vfio?.attached ?? false }
  }

  /** Tells which device stands in the way, what it is bound to, and what to do. Prints as text. */
  explain(): GroupExplanation {
    const held = new Set(this.#registry.group(this.number)?.devices.map((device) => device.name))
    return new GroupExplanation(this.#group, this.status().viable, (name) => held.has(name))
  }
}
