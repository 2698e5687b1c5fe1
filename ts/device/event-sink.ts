/** An event counter as interrupts hold it: it may be signalled for longer than its user looks at it. */
import type { NativeEventFd } from '../native/addon.ts'
import type { EventTarget64 } from './ops.ts'

/** What a driver gets of a user's event. Once the user has closed it, signals go nowhere, as they do in the kernel. */
export class EventSink implements EventTarget64 {
  readonly native: NativeEventFd
  #closed = false

  constructor(native: NativeEventFd) {
    this.native = native
  }

  signal(value = 1n): void {
    if (!this.#closed) this.native.signal(value)
  }

  /** The user has closed the counter. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.native.close()
  }
}
