/** Interrupts that are enabled, and the events that they arrive in. */
import { outOfRange } from '../errors.ts'
import type { EventFd } from './event-fd.ts'

/** Enabled interrupts of one index, from `start` on. Closing disables them. */
export class IrqVectors {
  /** Number within the index of the first one. */
  readonly start: number
  readonly #events: readonly (EventFd | null)[]
  readonly #owned: boolean
  readonly #disable: () => void
  #closed = false

  /**
   * Made by `irq.enable()`; `owned` events are closed with it.
   * @internal
   */
  constructor(start: number, events: readonly (EventFd | null)[], owned: boolean, disable: () => void) {
    this.start = start
    this.#events = events
    this.#owned = owned
    this.#disable = disable
  }

  /** How many there are. */
  get length(): number {
    return this.#events.length
  }

  /** The event of the `i`th one, counted from `start`: `wait()`, `for await`, `read()`. @throws {RangeError} none there */
  vector(i: number): EventFd {
    const event = this.#events[i]
    if (event == null) throw outOfRange('i', `an enabled vector, 0 to ${this.#events.length - 1}`, i)
    return event
  }

  /** Disables the interrupts (idempotent) and closes the events that `enable()` made. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      this.#disable()
    } finally {
      if (this.#owned) for (const event of this.#events) event?.close()
    }
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }
}
