/** What the addon has for iommufd, as callers see it: accesses and ports; address spaces are in `ioas.ts`. */
import { invalidArgType } from '../errors.ts'
import type { NativeDma, NativeFaultLog } from './addon-iommu.ts'
import type {
  NativeDevicePort,
  NativeDomainOptions,
  NativeIoas,
  NativeIoasAccess,
  NativeIommufd,
  NativePagingDomain,
  NativeReporting,
} from './addon-iommufd.ts'
import type { NativeNestedTable, NativeVirtualIommu } from './addon-nesting.ts'
import type { NativeAddressSpace } from './addon-memory.ts'
import { AddressSpaceHandle } from './address-space.ts'
import type { BindingDevicePort, BindingIoasAccess, IommufdBinding } from './binding-iommufd.ts'
import { DmaHandle } from './dma.ts'
import { FaultLogHandle } from './fault-log.ts'
import { IoasHandle, PagingDomainHandle } from './ioas.ts'
import {
  CommandQueueHandle,
  EventQueueHandle,
  NestedTableHandle,
  type NestedTableOptions,
  PageRequestsHandle,
  VirtualIommuHandle,
} from './nesting.ts'

class AccessHandle implements NativeIoasAccess {
  readonly #owner: BindingIoasAccess

  constructor(raw: IommufdBinding, mayPin: boolean, onUnmap?: (iova: bigint, length: bigint) => void) {
    this.#owner = new raw.NativeIoasAccess(mayPin, onUnmap)
  }

  static ownerOf(access: unknown): BindingIoasAccess {
    if (typeof access !== 'object' || access === null || !(#owner in access)) {
      throw invalidArgType('access', 'a native access', access)
    }
    return access.#owner
  }

  attach(ioas: NativeIoas | undefined): void {
    this.#owner.attach(ioas === undefined ? undefined : IoasHandle.ownerOf(ioas))
  }

  read(iova: bigint, length: number): Uint8Array {
    return this.#owner.read(iova, length)
  }

  write(iova: bigint, from: Uint8Array): void {
    this.#owner.write(iova, from)
  }

  pin(iova: bigint, length: bigint, write: boolean, expected?: { mm: NativeAddressSpace; address: bigint }): void {
    const mm = expected === undefined ? 0 : AddressSpaceHandle.handleOf(expected.mm, 'expected.mm')
    this.#owner.pin(iova, length, write, mm, expected?.address)
  }

  unpin(iova: bigint, length: bigint): void {
    this.#owner.unpin(iova, length)
  }
}

class PortHandle implements NativeDevicePort {
  readonly #raw: IommufdBinding
  readonly #owner: BindingDevicePort

  constructor(raw: IommufdBinding, name: string, faults: NativeFaultLog) {
    this.#raw = raw
    this.#owner = new raw.NativeDevicePort(name, FaultLogHandle.ownerOf(faults, 'faults'))
  }

  attachDomain(pasid: number, domain: NativePagingDomain, ioas: NativeIoas, reporting: NativeReporting): void {
    const [table, space] = [PagingDomainHandle.ownerOf(domain), IoasHandle.ownerOf(ioas)]
    this.#owner.attachDomain(withPasid(pasid), table, space, reporting.device, requestsOf(reporting))
  }

  attachNested(pasid: number, table: NativeNestedTable, reporting: NativeReporting): void {
    const { device, events } = reporting
    const viommu = events === undefined ? undefined : VirtualIommuHandle.ownerOf(events.viommu)
    const nested = NestedTableHandle.ownerOf(table)
    const virtId = events?.virtId ?? 0n
    this.#owner.attachNested(withPasid(pasid), nested, device, requestsOf(reporting), viommu, virtId)
  }

  attachAccess(access: NativeIoasAccess): void {
    this.#owner.attachAccess(AccessHandle.ownerOf(access))
  }

  detach(pasid: number): void {
    this.#owner.detach(withPasid(pasid))
  }

  join(viommu: NativeVirtualIommu, virtId: bigint, known: boolean): void {
    VirtualIommuHandle.ownerOf(viommu).setDevice(virtId, known ? this.#owner : undefined)
  }

  dma(): NativeDma {
    return new DmaHandle(this.#raw, this.#owner.dma())
  }
}

function withPasid(pasid: number): number | undefined {
  return pasid === 0 ? undefined : pasid
}

function requestsOf({ requests }: NativeReporting) {
  return requests === undefined ? undefined : PageRequestsHandle.ownerOf(requests)
}

/** Makes the classes over `raw`. */
export function iommufdClasses(raw: IommufdBinding): NativeIommufd {
  return {
    Ioas: class extends IoasHandle {
      constructor() {
        super(raw)
      }
    },
    PagingDomain: class extends PagingDomainHandle {
      constructor(options: NativeDomainOptions) {
        super(raw, options)
      }
    },
    IoasAccess: class extends AccessHandle {
      constructor(mayPin: boolean, onUnmap?: (iova: bigint, length: bigint) => void) {
        super(raw, mayPin, onUnmap)
      }
    },
    DevicePort: class extends PortHandle {
      constructor(name: string, faults: NativeFaultLog) {
        super(raw, name, faults)
      }
    },
    NestedTable: class extends NestedTableHandle {
      constructor(options: NestedTableOptions, parent: NativePagingDomain, ioas: NativeIoas) {
        super(raw, options, parent, ioas)
      }
    },
    PageRequests: class extends PageRequestsHandle {
      constructor(event: object) {
        super(raw, event)
      }
    },
    EventQueue: class extends EventQueueHandle {
      constructor(depth: number, event: object) {
        super(raw, depth, event)
      }
    },
    VirtualIommu: class extends VirtualIommuHandle {
      constructor(parent: NativePagingDomain, ioas: NativeIoas) {
        super(raw, parent, ioas)
      }
    },
    CommandQueue: class extends CommandQueueHandle {
      constructor(viommu: NativeVirtualIommu, index: number, base: bigint, length: bigint) {
        super(raw, viommu, index, base, length)
      }
    },
    faultLog: () => new FaultLogHandle(raw.NativeFaultLog.create()),
  }
}
