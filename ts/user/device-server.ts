/** A device that is served over vfio-user, from `serve()` to its end. */
import { EventEmitter } from 'node:events'
import type { VfioDevice } from '../device/vfio-device.ts'
import { VfioPciOps } from '../device/vfio-pci-ops.ts'
import type { NativeServer } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { ServedRequests } from './served-requests.ts'

/** A client that has the device. */
export interface Client {
  /** Process and user, as the system vouches for them. */
  pid: number
  uid: number
  /** Minor version of the protocol that was agreed on. */
  minor: number
}

/** What a server tells of. */
export interface DeviceServerEvents {
  /** A client has opened the device. */
  attach: [client: Client]
  /** The client has gone, for this reason; the device is closed, and reset unless its state is kept. */
  detach: [reason: string]
  /** A client was not let in, for this reason. */
  refuse: [reason: string]
  /** The server has stopped. */
  close: []
}

/** How a device is served. */
export interface ServeOptions {
  /** Path of the socket file, at most 107 bytes. It is made private (mode 0600) and goes with the server. */
  path: string
  /** Leaves the device as it is when a client goes; default: it is reset. */
  keepState?: boolean
  /** Only processes of this user are let in; default: whoever can reach the socket file. */
  uid?: number
  /** Milliseconds that a client may take to introduce itself, or to finish a message it began; default 5000. */
  patience?: number
  /**
   * Milliseconds that the device may take over a request, default 4000; then the client is told ETIMEDOUT. QEMU gives a
   * connection up whose answers take longer than 5 seconds.
   */
  answerWithin?: number
  /** Bytes of data in one message, 4096 to 64 MiB; default 1 MiB. */
  maxTransfer?: number
  /** Mappings that a client may have, 1 to 65535; default 65535. */
  maxMappings?: number
}

/** A device behind a socket: one client after the other may have it. */
export class DeviceServer extends EventEmitter<DeviceServerEvents> {
  /** Path of the socket file. */
  readonly path: string
  readonly #native: NativeServer
  readonly #requests: ServedRequests
  readonly #finished: (() => void)[] = []
  readonly #ended: (() => void) | undefined
  #client: Client | undefined
  #stopped = false

  /**
   * Made by `serve()`; `ended` runs once the server has stopped.
   * @internal
   */
  constructor(device: VfioDevice, options: ServeOptions, ended?: () => void) {
    super()
    this.#ended = ended
    const { path, ...settings } = options
    this.path = path
    const native = device.ops instanceof VfioPciOps ? device.ops.native : undefined
    this.#native = syscall('serve', () => addon().NativeServer.start(path, settings, () => this.#turn(), native), {
      path,
    })
    this.#requests = new ServedRequests(device, this.#native)
  }

  /** The client that has the device, if one has. */
  get client(): Client | undefined {
    return this.#client
  }

  /**
   * Sends the client away and stops (idempotent); the promise is fulfilled when the device is closed and the socket file gone.
   */
  close(): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise((resolve) => {
      this.#finished.push(resolve)
      this.#native.stop()
    })
  }

  /** Closes the server. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Takes what has come since the last turn: requests first, for events may tell of their end. */
  #turn(): void {
    for (let request = this.#native.nextRequest(); request !== undefined; request = this.#native.nextRequest()) {
      this.#requests.serve(request)
    }
    for (let event = this.#native.nextEvent(); event !== undefined; event = this.#native.nextEvent()) {
      if (event.kind === 'attached') {
        this.#client = { pid: event.pid ?? 0, uid: event.uid ?? 0, minor: event.minor ?? 0 }
        this.emit('attach', this.#client)
      } else if (event.kind === 'stopped') {
        this.#end()
      } else {
        if (event.kind === 'detached') this.#client = undefined
        this.emit(event.kind === 'detached' ? 'detach' : 'refuse', event.reason ?? '')
      }
    }
  }

  #end(): void {
    this.#stopped = true
    this.#requests.close()
    this.#ended?.()
    this.emit('close')
    for (const finished of this.#finished.splice(0)) finished()
  }
}
