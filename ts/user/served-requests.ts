/** Requests of a client, answered by the device that is served. */
import { Dma } from '../device/dma.ts'
import { DeviceSession } from '../device/device-session.ts'
import type { RegionInfo } from '../device/ops.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { VfioPciOps } from '../device/vfio-pci-ops.ts'
import { isErrno, VfioError } from '../errors.ts'
import type { NativeServedRequest, NativeServer } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import { ERRNO } from '../uapi/errno.ts'
import { ServedIrqs } from './served-irqs.ts'
import { servedLayout } from './served-layout.ts'
import { ServedMigration } from './served-migration.ts'

/** What a request is answered with; nothing: it was answered already. */
interface Answer {
  numbers?: bigint[]
  data?: Uint8Array
}

/** Answers a server's requests in the order in which they came; a device that answers later is waited for apart. */
export class ServedRequests {
  readonly #device: VfioDevice
  readonly #server: NativeServer
  readonly #irqs: ServedIrqs
  readonly #migration = new ServedMigration()
  #session: DeviceSession | undefined

  constructor(device: VfioDevice, server: NativeServer) {
    this.#device = device
    this.#server = server
    this.#irqs = new ServedIrqs(server)
  }

  /** Answers one request, now or when the device has. */
  serve(request: NativeServedRequest): void {
    try {
      const answer = this.#run(request)
      if (answer instanceof Promise) answer.then(this.#answer(request), this.#refuse(request))
      else if (answer !== undefined) this.#answer(request)(answer)
    } catch (error) {
      this.#refuse(request)(error)
    }
  }

  /** Closes what the client has left open. */
  close(): void {
    const session = this.#session
    this.#session = undefined
    try {
      this.#migration.close()
    } finally {
      try {
        session?.close()
      } finally {
        this.#irqs.close()
      }
    }
  }

  #run(request: NativeServedRequest): Answer | undefined | Promise<Answer> {
    if (request.kind === 'open') return this.#open(request.token)
    if (request.kind === 'close') {
      this.close()
      return {}
    }
    const session = this.#session
    if (session === undefined) {
      // After the last close a device is put back to how the next client shall find it.
      if (request.kind === 'reset') this.#device.ops.reset?.()
      else throw new VfioError('ENODEV', request.kind, { reason: 'the device is not open' })
      return {}
    }
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
        this.#irqs.run(request, (irqs) => session.setIrqs(irqs))
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
      case 'feature':
        return { data: this.#migration.feature(session, request.flags, request.data ?? new Uint8Array()) }
      case 'migration-read':
        return { data: this.#migration.read(Number(request.length)) }
      case 'migration-write':
        this.#migration.write(request.data ?? new Uint8Array())
        return {}
    }
  }

  #open(token: number): undefined {
    const native = syscall('open', () => this.#server.takeDma(token, this.#device.name))
    const session = DeviceSession.open(this.#device, {
      kind: 'cdev',
      openDevice: () => new Dma(native),
      closeDevice: () => {},
    })
    this.#session = session
    try {
      // A native device answers for itself.
      const native = this.#device.ops instanceof VfioPciOps
      const layout = native ? { hearsUnmaps: false, memory: [], doorbells: [] } : servedLayout(session)
      syscall('open', () => this.#server.answerOpen(token, layout))
    } catch (error) {
      this.close()
      throw error
    }
  }

  #read(session: DeviceSession, { index, offset, length }: NativeServedRequest): Answer | Promise<Answer> {
    const { ops } = session.device
    const data = new Uint8Array(Number(length))
    const done = ops.readAsync === undefined ? ops.read?.(index, offset, data) : ops.readAsync(index, offset, data)
    if (done === undefined) throw new VfioError('EINVAL', 'read')
    const answer = (count: number) => ({ data: data.subarray(0, count) })
    return typeof done === 'number' ? answer(done) : done.then(answer)
  }

  #write(session: DeviceSession, { index, offset, data }: NativeServedRequest): Answer | Promise<Answer> {
    const { ops } = session.device
    const from = data ?? new Uint8Array()
    const done = ops.writeAsync === undefined ? ops.write?.(index, offset, from) : ops.writeAsync(index, offset, from)
    if (done === undefined) throw new VfioError('EINVAL', 'write')
    return typeof done === 'number' ? {} : done.then(() => ({}))
  }

  #answer({ token }: NativeServedRequest) {
    return ({ numbers, data }: Answer) => this.#server.answer(token, 0, numbers, data)
  }

  #refuse({ token }: NativeServedRequest) {
    return (error: unknown) => {
      const known = isErrno(error)
      // A refusal is for the client; anything else is a mistake of the model, for whoever wrote it.
      if (!known) process.emitWarning(error instanceof Error ? error : String(error))
      this.#server.answer(token, -(known ? ERRNO[error.code] : ERRNO.EIO))
    }
  }
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
