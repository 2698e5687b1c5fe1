/** The typed handle of a queue of page requests. */
import { EventFd } from '../device/event-fd.ts'
import { VfioError } from '../errors.ts'
import { oneOf, u32 } from '../shape.ts'
import {
  IOMMU_PGFAULT_FLAGS_LAST_PAGE,
  IOMMU_PGFAULT_FLAGS_PASID_VALID,
  IOMMU_PGFAULT_PERM_READ,
  IOMMU_PGFAULT_PERM_WRITE,
  IOMMUFD_PAGE_RESP_INVALID,
  IOMMUFD_PAGE_RESP_SUCCESS,
} from '../uapi/constants.ts'
import { iommuHwptPgfault } from '../uapi/structs.ts'
import type { IommufdContext } from './context.ts'
import type { FaultQueue } from './fault-queue.ts'

/** Pages that one access of a device misses. */
export interface PageRequestGroup {
  /** By which it is answered. */
  cookie: number
  /** Id of the device within the iommufd. */
  deviceId: number
  /** Absent: the access had none. */
  pasid?: number
  /** The number that the device gave the group. */
  group: number
  read: boolean
  write: boolean
  /** Addresses of the pages. */
  pages: bigint[]
}

/** Requests that are read at once. */
const ROOM = 256

/** Pages that devices ask for. Made by `iommufd.allocFaultQueue()`. */
export class PageRequestQueue {
  /**
   * The object behind it.
   * @internal
   */
  readonly object: FaultQueue
  readonly #context: IommufdContext
  readonly #event: EventFd

  /** @internal */
  constructor(object: FaultQueue, context: IommufdContext) {
    this.object = object
    this.#context = context
    this.#event = EventFd.fromNative(object.event)
  }

  /** Its id; 0 once it is destroyed. */
  get id(): number {
    return this.object.id
  }

  /** A descriptor that can be polled: readable while there are requests; -1 where the system has none. */
  get fd(): number {
    return this.#event.fd
  }

  /** Takes the requests that are there. @throws {VfioError} EBADF destroyed */
  read(): PageRequestGroup[] {
    if (this.id === 0) throw new VfioError('EBADF', 'read', { reason: 'the queue was destroyed' })
    const bytes = this.object.read(ROOM)
    const groups: PageRequestGroup[] = []
    let pages: bigint[] = []
    for (let at = 0; at < bytes.byteLength; at += iommuHwptPgfault.size) {
      const request = iommuHwptPgfault.decode(bytes.subarray(at, at + iommuHwptPgfault.size))
      pages.push(request.addr)
      if ((request.flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE) === 0) continue
      groups.push({
        cookie: request.cookie,
        deviceId: request.devId,
        ...((request.flags & IOMMU_PGFAULT_FLAGS_PASID_VALID) === 0 ? {} : { pasid: request.pasid }),
        group: request.grpid,
        read: (request.perm & IOMMU_PGFAULT_PERM_READ) !== 0,
        write: (request.perm & IOMMU_PGFAULT_PERM_WRITE) !== 0,
        pages,
      })
      pages = []
    }
    return groups
  }

  /** Waits until there are requests, and takes them. @throws {VfioError} EBADF destroyed; the signal's reason */
  async wait(options: { signal?: AbortSignal } = {}): Promise<PageRequestGroup[]> {
    for (;;) {
      const groups = this.read()
      if (groups.length > 0) return groups
      await this.#event.wait(options)
    }
  }

  /** Answers a group: the access is tried again, or fails. @throws {VfioError} EBADF destroyed, EINVAL no such group */
  respond(cookie: number, answer: 'success' | 'invalid'): void {
    const wanted = u32(cookie, 'cookie')
    const success = oneOf(answer, ['success', 'invalid'], 'answer') === 'success'
    if (this.id === 0) throw new VfioError('EBADF', 'write', { reason: 'the queue was destroyed' })
    this.object.answer(wanted, success ? IOMMUFD_PAGE_RESP_SUCCESS : IOMMUFD_PAGE_RESP_INVALID)
  }

  /** Destroys it (`IOMMU_DESTROY`; idempotent). @throws {VfioError} EBUSY a page table reports to it */
  destroy(): void {
    if (this.id === 0) return
    this.#context.objects.destroy(this.id)
    this.#event.close()
  }
}
