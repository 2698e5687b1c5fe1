/** Requests of a client, answered by the device that is served. */
import { Dma } from '../device/dma.ts'
import { DeviceSession } from '../device/device-session.ts'
import type { IrqEventFds, RegionInfo } from '../device/ops.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { EventSink } from '../device/event-sink.ts'
import { isErrno, VfioError } from '../errors.ts'
import type { NativeServedRequest, NativeServer } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import { ERRNO } from '../uapi/errno.ts'
import { vfioIrqSet } from '../uapi/structs.ts'

/** What a request is answered with. */
interface Answer {
  numbers?: bigint[]
  data?: Uint8Array
}

const EIO = 5

/** Answers a server's requests in the order in which they came; a device that answers later is waited for apart. */
export class ServedRequests {
  readonly #device: VfioDevice
  readonly #server: NativeServer
  #session: DeviceSession | undefined
  /** Events that the client has sent and the device may still signal. */
  readonly #events = new Set<EventSink>()

  constructor(device: VfioDevice, server: NativeServer) {
    this.#device = device
    this.#server = server
  }

  /** Answers one request, now or when the device has. */
  serve(request: NativeServedRequest): void {
    try {
      const answer = this.#run(request)
      if (answer instanceof Promise) answer.then(this.#answer(request), this.#refuse(request))
      else this.#answer(request)(answer)
    } catch (error) {
      this.#refuse(request)(error)
    }
  }

  /** Closes what the client has left open. */
  close(): void {
    const session = this.#session
    this.#session = undefined
    try {
      session?.close()
    } finally {
      for (const event of this.#events) event.close()
      this.#events.clear()
    }
  }

  #run(request: NativeServedRequest): Answer | Promise<Answer> {
    if (request.kind === 'open') return this.#open(request.token)
    if (request.kind === 'close') {
      this.close()
      return {}
    }
    const session = this.#session
    if (session === undefined) throw new VfioError('ENODEV', request.kind, { reason: 'the device is not open' })
    switch (request.kind) {
      case 'info': {
        const { flags, numRegions, numIrqs } = session.info()
        return { numbers: [flags, numRegions, numIrqs].map(BigInt) }
      }
      case 'region-info':
        return regionAnswer(session.regionInfo(request.index))
      case 'irq-info': {
        const { flags, count } = session.irqInfo(request.index)
        return { numbers: [flags, count].map(BigInt) }
      }
      case 'set-irqs':
        session.setIrqs(this.#irqRequest(request))
        return {}
      case 'reset':
        session.reset()
        return {}
      case 'read':
        return this.#read(session, request)
      case 'write':
        return this.#write(session, request)
      case 'dma-unmap':
        // The length comes as that of the whole but one byte, so that all 64 bits have one.
        session.device.ops.dmaUnmap?.(request.offset, request.length + 1n)
        return {}
    }
  }

  #open(token: number): Answer {
    const native = syscall('open', () => this.#server.takeDma(token, this.#device.name))
    this.#session = DeviceSession.open(this.#device, {
      kind: 'cdev',
      openDevice: () => new Dma(native),
      closeDevice: () => {},
    })
    return {}
  }

  #read(session: DeviceSession, { index, offset, length }: NativeServedRequest): Answer | Promise<Answer> {
    const { ops } = session.device
    if (ops.read === undefined) throw new VfioError('EINVAL', 'read')
    const data = new Uint8Array(Number(length))
    const done = ops.read(index, offset, data)
    const answer = (count: number) => ({ data: data.subarray(0, count) })
    return typeof done === 'number' ? answer(done) : done.then(answer)
  }

  #write(session: DeviceSession, { index, offset, data }: NativeServedRequest): Answer | Promise<Answer> {
    const { ops } = session.device
    if (ops.write === undefined || data === undefined) throw new VfioError('EINVAL', 'write')
    const done = ops.write(index, offset, data)
    return typeof done === 'number' ? {} : done.then(() => ({}))
  }

  #irqRequest(request: NativeServedRequest) {
    const { flags, index, start, data } = request
    const count = Number(request.length)
    const bools = data ?? new Uint8Array()
    const events = request.events === undefined ? NO_EVENTS : this.#eventsOf(request.token, request.events)
    return {
      argsz: vfioIrqSet.size + (request.events === undefined ? bools.byteLength : events.length * 4),
      flags,
      index,
      start,
      count,
      bools: () => bools,
      eventfds: () => events,
    }
  }

  #eventsOf(token: number, entries: readonly number[]): IrqEventFds {
    // The server forgets its side of a request once it is answered; so each event is taken at once.
    const sinks = entries.map((entry, i) => {
      if (entry <= 0) return undefined
      const sink = new EventSink(syscall('VFIO_DEVICE_SET_IRQS', () => this.#server.takeEvent(token, i)))
      this.#events.add(sink)
      return sink
    })
    return {
      length: entries.length,
      fd: (i) => (entries[i] === -1 ? -1 : i),
      get: (i) => {
        const sink = sinks[i]
        if (sink === undefined) throw VfioError.fromStatus((entries[i] ?? -1) + 1, 'VFIO_DEVICE_SET_IRQS')
        return sink
      },
    }
  }

  #answer({ token }: NativeServedRequest) {
    return ({ numbers, data }: Answer) => this.#server.answer(token, 0, numbers, data)
  }

  #refuse({ token }: NativeServedRequest) {
    return (error: unknown) => this.#server.answer(token, -(isErrno(error) ? ERRNO[error.code] : EIO))
  }
}

const NO_EVENTS: IrqEventFds = {
  length: 0,
  fd: () => -1,
  get: () => {
    throw new VfioError('EINVAL', 'VFIO_DEVICE_SET_IRQS')
  },
}

/** A region's description; capabilities one behind the other, each with id, version and length. */
function regionAnswer({ flags, size, offset, capabilities = [] }: RegionInfo): Answer {
  const parts = capabilities.map(({ id, version, payload }) => {
    const bytes = new Uint8Array(8 + payload.byteLength)
    const view = new DataView(bytes.buffer)
    view.setUint16(0, id, true)
    view.setUint16(2, version, true)
    view.setUint32(4, payload.byteLength, true)
    bytes.set(payload, 8)
    return bytes
  })
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    data.set(part, at)
    at += part.byteLength
  }
  return { numbers: [BigInt(flags), size, offset], data }
}
