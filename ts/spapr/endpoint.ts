/** What a machine can do to a group's endpoint: errors as hardware and firmware make them, for tests of recovery. */
import { VfioError } from '../errors.ts'
import type { TableGroup } from './table-group.ts'

const OPERATION = 'endpoint'

/** The devices of one group, which the hardware cuts off together. Got from `host.endpoint(group)`. */
export class Endpoint {
  readonly #group: TableGroup

  /** @internal */
  constructor(group: TableGroup) {
    this.#group = group
  }

  /** How often errors have cut it off since the machine started. */
  get freezes(): bigint {
    return this.#group.eeh?.freezes ?? this.#group.record.earlierFreezes
  }

  /** Whether it has failed for good. */
  get failed(): boolean {
    return this.#group.eeh?.failed ?? this.#group.record.broken
  }

  /**
   * Whether the host is recovering what lies above it: `VFIO_EEH_PE_GET_STATE` says that it is unavailable until that is over.
   */
  get parentRecovering(): boolean {
    return this.#group.record.parentRecovering
  }

  /** Says whether the host is recovering what lies above. @throws {VfioError} EOPNOTSUPP nothing freezes on this machine */
  set parentRecovering(recovering: boolean) {
    this.#requireFreezing()
    this.#group.record.parentRecovering = recovering === true
  }

  /** Cuts it off, as an error of its devices does. @throws {VfioError} ENODEV no container has the group */
  freeze(): void {
    this.#requireFreezing()
    if (this.#group.eeh === undefined) {
      throw new VfioError('ENODEV', OPERATION, {
        reason: `${this.#group.name} is in no container`,
        remedy: 'open it and set an IOMMU first',
      })
    }
    this.#group.eeh.freeze()
  }

  /** Cuts it off for good: nothing recovers it until a new machine. */
  fail(): void {
    this.#requireFreezing()
    this.#group.record.broken = true
    this.#group.eeh?.fail()
  }

  #requireFreezing(): void {
    if (this.#group.freezing) return
    throw new VfioError('EOPNOTSUPP', OPERATION, {
      reason: 'nothing freezes on this machine',
      remedy: `give the machine spapr: { eeh: 'real' }`,
    })
  }
}
