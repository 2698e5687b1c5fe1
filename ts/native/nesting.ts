/** Guests' IOMMUs as callers see them: handles over what the addon exports. */
import { invalidArgType } from '../errors.ts'
import type { NativeIoas, NativePagingDomain } from './addon-iommufd.ts'
import type {
  NativeCommandQueue,
  NativeEventQueue,
  NativeNestedTable,
  NativePageRequests,
  NativeVirtualIommu,
} from './addon-nesting.ts'
import type {
  BindingCommandQueue,
  BindingEventQueue,
  BindingNestedTable,
  BindingPageRequests,
  BindingVirtualIommu,
  IommufdBinding,
} from './binding-iommufd.ts'
import { EventFdHandle } from './event-fd.ts'
import { IoasHandle, PagingDomainHandle } from './ioas.ts'

/** What a guest's table is made of. */
export interface NestedTableOptions {
  root: bigint
  levels: number
  accessedDirty: boolean
}

/** The one implementation of {@link NativeNestedTable}. */
export class NestedTableHandle implements NativeNestedTable {
  readonly #owner: BindingNestedTable

  constructor(raw: IommufdBinding, options: NestedTableOptions, parent: NativePagingDomain, ioas: NativeIoas) {
    const domain = PagingDomainHandle.ownerOf(parent)
    const { root, levels, accessedDirty } = options
    this.#owner = new raw.NativeNestedTable(root, levels, accessedDirty, domain, IoasHandle.ownerOf(ioas))
  }

  /** The owner behind `table`. @throws {TypeError} it is not ours */
  static ownerOf(table: unknown): BindingNestedTable {
    if (typeof table === 'object' && table !== null && #owner in table) return table.#owner
    throw invalidArgType('table', 'a native nested table', table)
  }

  invalidate(iova: bigint, npages: bigint): void {
    this.#owner.invalidate(iova, npages)
  }
}

/** The one implementation of {@link NativePageRequests}. */
export class PageRequestsHandle implements NativePageRequests {
  readonly #owner: BindingPageRequests

  constructor(raw: IommufdBinding, event: object) {
    this.#owner = new raw.NativePageRequests(EventFdHandle.handleOf(event, 'event'))
  }

  /** The owner behind `requests`. @throws {TypeError} it is not ours */
  static ownerOf(requests: unknown): BindingPageRequests {
    if (typeof requests === 'object' && requests !== null && #owner in requests) return requests.#owner
    throw invalidArgType('requests', 'a native queue of page requests', requests)
  }

  readable(): boolean {
    return this.#owner.readable()
  }

  read(room: number): Uint8Array {
    return this.#owner.read(room)
  }

  answer(cookie: number, success: boolean): void {
    this.#owner.answer(cookie, success)
  }

  report(device: number, pasid: number | undefined, number: number, perm: number, page: bigint): void {
    this.#owner.report(device, pasid, number, perm, page)
  }

  close(): void {
    this.#owner.close()
  }
}

/** The one implementation of {@link NativeEventQueue}. */
export class EventQueueHandle implements NativeEventQueue {
  readonly #owner: BindingEventQueue

  constructor(raw: IommufdBinding, depth: number, event: object) {
    this.#owner = new raw.NativeEventQueue(depth, EventFdHandle.handleOf(event, 'event'))
  }

  /** The owner behind `queue`. @throws {TypeError} it is not ours */
  static ownerOf(queue: unknown): BindingEventQueue {
    if (typeof queue === 'object' && queue !== null && #owner in queue) return queue.#owner
    throw invalidArgType('queue', 'a native event queue', queue)
  }

  readable(): boolean {
    return this.#owner.readable()
  }

  read(room: number): Uint8Array {
    return this.#owner.read(room)
  }

  report(data: Uint8Array): void {
    this.#owner.report(data)
  }

  close(): void {
    this.#owner.close()
  }
}

/** The one implementation of {@link NativeVirtualIommu}. */
export class VirtualIommuHandle implements NativeVirtualIommu {
  readonly #owner: BindingVirtualIommu

  constructor(raw: IommufdBinding, parent: NativePagingDomain, ioas: NativeIoas) {
    this.#owner = new raw.NativeVirtualIommu(PagingDomainHandle.ownerOf(parent), IoasHandle.ownerOf(ioas))
  }

  /** The owner behind `viommu`. @throws {TypeError} it is not ours */
  static ownerOf(viommu: unknown): BindingVirtualIommu {
    if (typeof viommu === 'object' && viommu !== null && #owner in viommu) return viommu.#owner
    throw invalidArgType('viommu', 'a native virtual IOMMU', viommu)
  }

  setEvents(queue: NativeEventQueue | undefined): void {
    this.#owner.setEvents(queue === undefined ? undefined : EventQueueHandle.ownerOf(queue))
  }

  addTable(table: NativeNestedTable): void {
    this.#owner.addTable(NestedTableHandle.ownerOf(table))
  }

  execute(command: Uint8Array): number {
    return this.#owner.execute(command)
  }
}

/** The one implementation of {@link NativeCommandQueue}. */
export class CommandQueueHandle implements NativeCommandQueue {
  readonly #owner: BindingCommandQueue

  constructor(raw: IommufdBinding, viommu: NativeVirtualIommu, index: number, base: bigint, length: bigint) {
    this.#owner = new raw.NativeCommandQueue(VirtualIommuHandle.ownerOf(viommu), index, base, length)
  }

  ring(producer: number): void {
    this.#owner.ring(producer)
  }

  resume(): void {
    this.#owner.resume()
  }

  status(): { producer: number; consumer: number; error: number } {
    const [producer = 0, consumer = 0, error = 0] = this.#owner.status()
    return { producer, consumer, error }
  }

  close(): void {
    this.#owner.close()
  }
}
