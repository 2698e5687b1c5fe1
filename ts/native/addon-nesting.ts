/** The part of the addon that is guests' IOMMUs: nested page tables, page requests, events, commands. See `addon.ts`. */

/** A guest's page table on top of one of the host. */
export interface NativeNestedTable {
  /** Forgets pages of 4 KiB; 2^64-1 from 0 on stands for all. @throws EINVAL */
  invalidate(iova: bigint, npages: bigint): void
}

/** Page requests of devices, as `struct iommu_hwpt_pgfault`. */
export interface NativePageRequests {
  readable(): boolean
  /** Reads whole groups, of at most `room` requests. @throws EINVAL the first has more */
  read(room: number): Uint8Array
  /** Answers a group. @throws EINVAL there is none with that cookie */
  answer(cookie: number, success: boolean): void
  /** Adds a request that nobody waits for. @throws ENOSPC */
  report(device: number, pasid: number | undefined, number: number, perm: number, page: bigint): void
  /** Gives up what is not answered (idempotent). */
  close(): void
}

/** Events of a virtual IOMMU, each behind its header. */
export interface NativeEventQueue {
  readable(): boolean
  /** Reads what fits into `room` bytes. @throws EINVAL not even the first */
  read(room: number): Uint8Array
  report(data: Uint8Array): void
  close(): void
}

/** What belongs to a guest's IOMMU. */
export interface NativeVirtualIommu {
  setEvents(queue: NativeEventQueue | undefined): void
  addTable(table: NativeNestedTable): void
  /** Does a command of 32 bytes; returns 0 or `IOMMU_SOFTWARE_ERROR_*`. */
  execute(command: Uint8Array): number
}

/** A ring of commands in guest memory. */
export interface NativeCommandQueue {
  ring(producer: number): void
  resume(): void
  status(): { producer: number; consumer: number; error: number }
  close(): void
}
