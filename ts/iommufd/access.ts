/** Software that reaches an address space, such as a mediated device (`iommufd_access`). */
import { VfioError } from '../errors.ts'
import type { NativeIoasAccess } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { IoasObject } from './ioas.ts'
import { IommufdObject, type ObjectTable } from './object.ts'

const OPERATION = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'

/** What software reaches. */
export class IommufdAccess extends IommufdObject {
  readonly kind = 'access'
  readonly native: NativeIoasAccess
  readonly #objects: ObjectTable
  #ioas: IoasObject | undefined

  /** `onUnmap` is asked to unpin a range. */
  constructor(objects: ObjectTable, mayPin: boolean, onUnmap?: (iova: bigint, length: bigint) => void) {
    super()
    this.#objects = objects
    this.native = syscall(OPERATION, () => new (addon().iommufd.IoasAccess)(mayPin, onUnmap))
  }

  /** Where it is attached. */
  get ioas(): IoasObject | undefined {
    return this.#ioas
  }

  /** Attaches to an address space; returns its id. @throws {VfioError} ENOENT no such address space, EADDRINUSE, EBUSY */
  attach(ioasId: number): number {
    const ioas = this.#objects.getOf(ioasId, IoasObject, OPERATION)
    this.#move(ioas)
    return ioas.id
  }

  /** Detaches (idempotent). */
  detach(): void {
    if (this.#ioas !== undefined) this.#move(undefined)
  }

  destroy(): void {
    this.detach()
  }

  #move(ioas: IoasObject | undefined): void {
    const old = this.#ioas
    if (old === ioas) return
    syscall(OPERATION, () => this.native.attach(ioas?.native))
    if (ioas !== undefined) ioas.hold()
    this.#ioas = ioas
    old?.release()
  }
}

/** Refuses what only hardware can do. */
export function notForAccess(operation: string): VfioError {
  return new VfioError('EOPNOTSUPP', operation, { reason: 'a mediated device has no PASIDs' })
}
