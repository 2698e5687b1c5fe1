/** Queues of page requests (`IOMMUFD_OBJ_FAULT`). */
import { VfioError } from '../errors.ts'
import type { NativeEventFd } from '../native/addon.ts'
import type { NativePageRequests } from '../native/addon-nesting.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { IOMMUFD_PAGE_RESP_INVALID, IOMMUFD_PAGE_RESP_SUCCESS } from '../uapi/constants.ts'
import { IommufdObject } from './object.ts'

const OPERATION = 'IOMMU_FAULT_QUEUE_ALLOC'

/** A queue of page requests: devices ask, user space reads and answers. */
export class FaultQueue extends IommufdObject {
  readonly kind = 'fault'
  /** Signalled when there is something to read. */
  readonly event: NativeEventFd
  readonly native: NativePageRequests

  constructor() {
    super()
    this.event = syscall(OPERATION, () => addon().NativeEventFd.create(0n))
    this.native = syscall(OPERATION, () => new (addon().iommufd.PageRequests)(this.event))
  }

  /** Reads whole groups of at most `room` requests. @throws {VfioError} EINVAL the first group has more */
  read(room: number): Uint8Array {
    const bytes = syscall('read', () => this.native.read(room))
    if (!this.native.readable()) {
      this.event.read()
      // One that came in between has signalled what was taken just now.
      if (this.native.readable()) this.event.signal()
    }
    return bytes
  }

  /** Answers a group. @throws {VfioError} EINVAL no such answer, or no group with that cookie */
  answer(cookie: number, code: number): void {
    if (code !== IOMMUFD_PAGE_RESP_SUCCESS && code !== IOMMUFD_PAGE_RESP_INVALID) {
      throw new VfioError('EINVAL', 'write', { reason: `there is no answer ${code}` })
    }
    syscall('write', () => this.native.answer(cookie, code === IOMMUFD_PAGE_RESP_SUCCESS))
  }

  destroy(): void {
    this.native.close()
    this.event.close()
  }
}
