/** Interrupts that are enabled, and the events that they arrive in. */
import { isErrno, outOfRange } from '../errors.ts'
import { u32 } from '../shape.ts'
import type { EventFd } from './event-fd.ts'

/** How interrupts are given up: at once, or without holding this thread up. */
export interface IrqRelease {
  now(): void
  later(): Promise<void>
}

/** Enabled interrupts of one index, from `start` on. Closing disables them. */
export class IrqVectors {
  /** Number within the index of the first one. */
  readonly start: number
  readonly #events: readonly (EventFd | null)[]
  readonly #owned: boolean
  readonly #release: () => IrqRelease | undefined
  #closed = false

  /**
   * Made by `irq.enable()`; `owned` events are closed with it.
   * @internal
   */
  constructor(
    start: number,
    events: readonly (EventFd | null)[],
    owned: boolean,
    release: () => IrqRelease | undefined,
  ) {
    this.start = start
    this.#events = events
    this.#owned = owned
    this.#release = release
  }

  /** How many there are. */
  get length(): number {
    return this.#events.length
  }

  /** The event of the `i`th one, counted from `start`: `wait()`, `for await`, `read()`. @throws {RangeError} none there */
  vector(i: number): EventFd {
    const event = this.#events[u32(i, 'i')]
    if (event == null) throw outOfRange('i', `an enabled vector, 0 to ${this.#events.length - 1}`, i)
    return event
  }

  /** Disables the interrupts (idempotent) and closes the events that `enable()` made. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      this.#release()?.now()
    } catch (error) {
      if (!isErrno(error, 'EINVAL')) throw error // another mode was enabled meanwhile: nothing to give up
    } finally {
      this.#closeEvents()
    }
  }

  /** As {@link close}, without holding this thread up where the device is in another process. */
  async closeAsync(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.#release()?.later()
    } catch (error) {
      if (!isErrno(error, 'EINVAL')) throw error // as above
    } finally {
      this.#closeEvents()
    }
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Same as {@link closeAsync}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.closeAsync()
  }

  #closeEvents(): void {
    if (this.#owned) for (const event of this.#events) event?.close()
  }
}
