/** Native event counters as callers see them. */
import { invalidArgType, VfioError } from '../errors.ts'
import { u64, type U64 } from '../shape.ts'
import type { NativeEventFd, NativeEventFdClass } from './addon.ts'
import type { Binding, BindingEventFd } from './binding.ts'
import { status } from './syscall.ts'

const EMPTY = -11n

/** The one implementation of {@link NativeEventFd}. */
export class EventFdHandle implements NativeEventFd {
  readonly #raw: Binding
  readonly #owner: BindingEventFd
  #handle: number

  constructor(raw: Binding, owner: BindingEventFd) {
    this.#raw = raw
    this.#owner = owner
    this.#handle = owner.handle
  }

  /** The handle of `event` for a raw call. @throws {TypeError} it is not ours */
  static handleOf(event: unknown, name: string): number {
    if (typeof event !== 'object' || event === null || !(#handle in event)) {
      throw invalidArgType(name, 'a native event counter', event)
    }
    return event.#handle
  }

  signal(value: U64 = 1n): void {
    status(this.#raw.eventFdSignal(this.#handle, value), 'write')
  }

  add(value: U64): number {
    return this.#raw.eventFdAdd(this.#handle, value)
  }

  count(): bigint {
    return status(this.#raw.eventFdCount(this.#handle), 'read')
  }

  poll(): number {
    return status(this.#raw.eventFdPoll(this.#handle), 'poll')
  }

  read(): bigint | undefined {
    const count = this.#raw.eventFdRead(this.#handle)
    return count === EMPTY ? undefined : status(count, 'read')
  }

  fd(): number {
    return this.#owner.fd()
  }

  watch(callback: (count: bigint) => void): void {
    if (typeof callback !== 'function') throw invalidArgType('callback', 'a function', callback)
    // The callback holds the counter, so that a forgotten counter is watched on as long as its callback is.
    this.#owner.watch((count) => this.#deliver(callback, count))
  }

  unwatch(): void {
    this.#owner.unwatch()
  }

  close(): void {
    this.#handle = 0
    this.#owner.close()
  }

  #deliver(callback: (count: bigint) => void, count: bigint): void {
    callback(count)
  }
}

/** Makes event counters through `raw`. */
export function eventFdClass(raw: Binding): NativeEventFdClass {
  const { NativeEventFd: Owner } = raw
  return {
    create: (initial = 0n) => new EventFdHandle(raw, Owner.create(u64(initial, 'initial'))),
    fromFd: (fd) => {
      if (typeof fd !== 'number') throw invalidArgType('fd', 'a number', fd)
      if (!Number.isInteger(fd) || fd < 0 || fd > 0x7fff_ffff) throw new VfioError('EBADF', 'eventfd')
      return new EventFdHandle(raw, Owner.fromFd(fd))
    },
  }
}
