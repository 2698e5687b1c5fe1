/** Native vfio-user servers as callers see them. */
import type {
  NativeDma,
  NativeEventFd,
  NativeServedEvent,
  NativeServedLayout,
  NativeServedRequest,
  NativeServer,
  NativeServerClass,
} from './addon.ts'
import type { Binding, BindingServer } from './binding.ts'
import { DmaHandle } from './dma.ts'
import { EventFdHandle } from './event-fd.ts'
import { MemoryHandle } from './memory.ts'
import { VfioPciHandle } from './vfio-pci.ts'
import { hasVfioUser, noVfioUser } from './vfio-user.ts'

class ServerHandle implements NativeServer {
  readonly #raw: Binding
  readonly #owner: BindingServer

  constructor(raw: Binding, owner: BindingServer) {
    this.#raw = raw
    this.#owner = owner
  }

  nextRequest(): NativeServedRequest | undefined {
    return this.#owner.nextRequest() ?? undefined
  }

  nextEvent(): NativeServedEvent | undefined {
    return this.#owner.nextEvent() ?? undefined
  }

  takeDma(token: number, name: string): NativeDma {
    return new DmaHandle(this.#raw, this.#owner.takeDma(token, name))
  }

  takeEvent(token: number, entry: number): NativeEventFd {
    return new EventFdHandle(this.#raw, this.#owner.takeEvent(token, entry))
  }

  answerOpen(token: number, { hearsUnmaps, memory, doorbells }: NativeServedLayout): void {
    this.#owner.answerOpen(token, {
      hearsUnmaps,
      memory: memory.map((part) => ({ ...part, memory: MemoryHandle.handleOf(part.memory, 'memory') })),
      doorbells: doorbells.map((bell) => ({ ...bell, event: EventFdHandle.handleOf(bell.event, 'event') })),
    })
  }

  answer(token: number, status: number, numbers?: bigint[], data?: Uint8Array): void {
    this.#owner.answer(token, status, numbers, data)
  }

  stop(): void {
    this.#owner.stop()
  }
}

/** Starts servers through `raw`. */
export function serverClass(raw: Binding): NativeServerClass {
  return {
    start: (path, settings, wake, native) => {
      if (!hasVfioUser(raw)) throw noVfioUser('vfio_user_serve')
      const handle = native === undefined ? undefined : VfioPciHandle.handleOf(native, 'native')
      return new ServerHandle(raw, raw.NativeServer.start(path, settings, wake, handle))
    },
  }
}
