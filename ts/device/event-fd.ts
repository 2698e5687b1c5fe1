/** Event counters that interrupts arrive in: eventfds on Linux, counters of this process elsewhere. */
import { invalidArgType, VfioError } from '../errors.ts'
import type { NativeEventFd } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { record, u32, u64, type U64 } from '../shape.ts'
import { EventSink } from './event-sink.ts'
import type { EventTarget64 } from './ops.ts'

interface Waiter {
  resolve(count: bigint): void
  reject(reason: unknown): void
}

/**
 * An event counter. Signals add up until somebody takes the count.
 *
 * Waiting keeps the event loop alive; an idle counter does not.
 */
export class EventFd implements EventTarget64 {
  /**
   * What drivers hold of it.
   * @internal
   */
  readonly sink: EventSink
  readonly #waiters: Waiter[] = []
  #closed = false

  private constructor(native: NativeEventFd) {
    this.sink = new EventSink(native)
  }

  /** Makes a counter that stands at `initial` (default 0). @throws {VfioError} EMFILE */
  static create(initial: U64 = 0n): EventFd {
    const count = u64(initial, 'initial')
    return new EventFd(syscall('eventfd', () => addon().NativeEventFd.create(count)))
  }

  /**
   * Takes part in an eventfd of this process, such as one got from another library. The descriptor is duplicated.
   * @throws {VfioError} EBADF, EINVAL it is no eventfd, EOPNOTSUPP not on this system
   */
  static fromFd(fd: number): EventFd {
    return new EventFd(syscall('eventfd', () => addon().NativeEventFd.fromFd(u32(fd, 'fd'))))
  }

  /**
   * Wraps a native counter, such as one that another process sent.
   * @internal
   */
  static fromNative(native: NativeEventFd): EventFd {
    return new EventFd(native)
  }

  /**
   * The native counter behind it.
   * @internal
   */
  get native(): NativeEventFd {
    return this.sink.native
  }

  /** The descriptor, which belongs to this object; -1 where the system has none. */
  get fd(): number {
    return this.#closed ? -1 : this.native.fd()
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed
  }

  /** Adds `value` (default 1), stopping below 2^64-1. @throws {VfioError} EBADF closed */
  signal(value: U64 = 1n): void {
    const added = u64(value, 'value')
    this.#open('write')
    syscall('write', () => this.native.signal(added))
  }

  /** Takes the count; undefined where nothing was signalled. @throws {VfioError} EBADF closed */
  read(): bigint | undefined {
    this.#open('read')
    return this.native.read()
  }

  /**
   * Waits until something was signalled and takes the count. Of several who wait the first one gets it.
   * @throws {VfioError} EBADF it is closed, now or meanwhile; the signal's reason when that aborts
   */
  async wait(options: { signal?: AbortSignal } = {}): Promise<bigint> {
    const { signal } = record(options, 'options')
    if (signal !== undefined && !(signal instanceof AbortSignal))
      throw invalidArgType('options.signal', 'an AbortSignal', signal)
    signal?.throwIfAborted()
    const now = this.#waiters.length === 0 ? this.read() : undefined
    if (now !== undefined) return now
    this.#open('read')
    return new Promise<bigint>((resolve, reject) => {
      const waiter: Waiter = { resolve: finish(resolve), reject: finish(reject) }
      const aborted = (): void => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1)
        this.#watch()
        reject(signal?.reason)
      }
      function finish<T>(settle: (value: T) => void): (value: T) => void {
        return (value) => {
          signal?.removeEventListener('abort', aborted)
          settle(value)
        }
      }
      signal?.addEventListener('abort', aborted, { once: true })
      this.#waiters.push(waiter)
      this.#watch()
    })
  }

  /** Yields each count as it comes; ends when the counter is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<bigint, void, undefined> {
    while (!this.#closed) {
      let count: bigint
      try {
        count = await this.wait()
      } catch (error) {
        if (this.#closed) return
        throw error
      }
      yield count
    }
  }

  /** Closes the counter (idempotent); an interrupt that is enabled on it keeps counting, unseen. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#unwatch()
    this.sink.close()
    for (const waiter of this.#waiters.splice(0))
      waiter.reject(new VfioError('EBADF', 'read', { reason: 'the event was closed' }))
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #watching = false

  /** Watches while somebody waits, and only then. */
  #watch(): void {
    if (this.#waiters.length === 0) return this.#unwatch()
    if (this.#watching) return
    this.#watching = true
    this.native.watch((count) => {
      const first = this.#waiters.shift()
      this.#watch()
      first?.resolve(count)
    })
  }

  #unwatch(): void {
    if (!this.#watching) return
    this.#watching = false
    this.native.unwatch()
  }

  #open(operation: string): void {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the event is closed' })
  }
}
