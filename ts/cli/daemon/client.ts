/** A connection to a running host. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { MachineTree } from '../machine/tree.ts'
import { LineReader, type Message, type Refusal, type Requests } from './protocol.ts'

/** No host listens at the socket. */
export class NoHostError extends Error {
  readonly code = 'ECONNREFUSED'
}

/** Something that the host refused; carries what the host's error carried. */
class RefusedError extends Error {
  constructor({ message, ...details }: Refusal) {
    super(message)
    Object.assign(this, details)
  }
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: Error): void
  event: ((name: string, details: Record<string, unknown>) => void) | undefined
}

/** A host in another process, and its tree. */
export class HostClient implements MachineTree {
  readonly place: string
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  #next = 1
  #ended: Error | undefined

  private constructor(path: string, socket: Socket) {
    this.place = path
    this.#socket = socket
    const lines = new LineReader((line) => this.#message(JSON.parse(line) as Message))
    socket.on('data', (bytes: Buffer) => {
      try {
        lines.push(bytes)
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
    socket.on('error', (error) => this.#end(error))
    socket.on('close', () => this.#end(new NoHostError(`the host at ${path} has gone`)))
  }

  /** Connects. @throws {NoHostError} nobody listens there */
  static async connect(path: string): Promise<HostClient> {
    const socket = connect(path)
    try {
      await once(socket, 'connect')
    } catch (error) {
      const { code } = error as { code?: string }
      const why = code === 'ENOENT' || code === 'ECONNREFUSED' ? 'no host runs' : (error as Error).message
      throw new NoHostError(`${why} at ${path}; start one with: vfio host${named(path)} --detach`)
    }
    return new HostClient(path, socket)
  }

  /** Asks for something; `event` hears what happens afterwards. */
  call<C extends keyof Requests>(
    call: C,
    args: Requests[C]['arguments'],
    event?: (name: string, details: Record<string, unknown>) => void,
  ): Promise<Requests[C]['result']> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    const id = this.#next++
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, event })
      this.#socket.write(`${JSON.stringify({ id, call, arguments: args })}\n`)
    }) as Promise<Requests[C]['result']>
  }

  list(path: string): Promise<string[]> {
    return this.call('list', { path })
  }

  read(path: string): Promise<string> {
    return this.call('read', { path })
  }

  async write(path: string, text: string): Promise<void> {
    await this.call('write', { path, text })
  }

  realpath(path: string): Promise<string> {
    return this.call('realpath', { path })
  }

  /** Settles when the host has gone. */
  async ended(): Promise<void> {
    if (!this.#socket.destroyed) await new Promise((resolve) => this.#socket.once('close', resolve))
  }

  close(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #message(message: Message): void {
    const waiting = this.#waiting.get(message.id)
    if (waiting === undefined) return
    if ('event' in message) return waiting.event?.(message.event, message.details)
    if (waiting.event === undefined || 'error' in message) this.#waiting.delete(message.id)
    if ('error' in message) waiting.reject(new RefusedError(message.error))
    else waiting.resolve(message.result)
  }

  #end(reason: Error): void {
    this.#ended ??= reason
    for (const waiting of this.#waiting.values()) waiting.reject(reason)
    this.#waiting.clear()
  }
}

function named(path: string): string {
  return process.env['VFIO_HOST'] === path ? '' : ` --socket ${path}`
}
