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
} from './addon-iommufd.ts'
import type { NativeAddressSpace } from './addon-memory.ts'
import { AddressSpaceHandle } from './address-space.ts'
import type { BindingDevicePort, BindingIoasAccess, IommufdBinding } from './binding-iommufd.ts'
import { DmaHandle } from './dma.ts'
import { FaultLogHandle } from './fault-log.ts'
import { IoasHandle, PagingDomainHandle } from './ioas.ts'

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

  attachDomain(domain: NativePagingDomain, ioas: NativeIoas): void {
    this.#owner.attachDomain(PagingDomainHandle.ownerOf(domain), IoasHandle.ownerOf(ioas))
  }

  attachAccess(access: NativeIoasAccess): void {
    this.#owner.attachAccess(AccessHandle.ownerOf(access))
  }

  detach(): void {
    this.#owner.detach()
  }

  dma(): NativeDma {
    return new DmaHandle(this.#raw, this.#owner.dma())
  }
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
    faultLog: () => new FaultLogHandle(raw.NativeFaultLog.create()),
  }
}
