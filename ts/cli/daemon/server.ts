/** A host that other commands talk to: its machine lives as long as the process. */
import { chmodSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { DeviceServer, SoftwareHost } from '../../index.ts'
import { VfioError } from '../../index.ts'
import { SoftwareTree } from '../machine/software-tree.ts'
import { type HostAbout, LineReader, type Message, type Request, type Requests, type ServeRequest } from './protocol.ts'
import { deviceOf, serveLogged } from './served.ts'
import { prepareFolder } from './socket-path.ts'

/** Most commands that may be connected at once. */
const MOST_CLIENTS = 256

/** What a host server is made of. */
export interface HostServerOptions {
  host: SoftwareHost
  path: string
  about: HostAbout
  /** Somebody asked the host to end. */
  stop(): void
}

/** Listens for commands. `close()` ends what they had served. */
export class HostServer {
  readonly #options: HostServerOptions
  readonly #server: Server
  readonly #clients = new Set<Client>()

  private constructor(options: HostServerOptions) {
    this.#options = options
    this.#server = createServer((socket) => this.#accept(socket))
    this.#server.maxConnections = MOST_CLIENTS
  }

  /**
   * Begins to listen, with a socket that only its user can use.
   * @throws {VfioError} EADDRINUSE a host listens there already, EEXIST something else is there, EPERM the folder is not private
   */
  static async listen(options: HostServerOptions): Promise<HostServer> {
    prepareFolder(options.path)
    await removeStale(options.path)
    const server = new HostServer(options)
    const before = process.umask(0o177)
    try {
      server.#server.listen(options.path)
      await once(server.#server, 'listening')
    } finally {
      process.umask(before)
    }
    chmodSync(options.path, 0o600)
    return server
  }

  /** Lets everybody go and removes the socket. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await Promise.all([...this.#clients].map((client) => client.close()))
    await closed
  }

  #accept(socket: Socket): void {
    const client = new Client(socket, this.#options)
    this.#clients.add(client)
    socket.once('close', () => this.#clients.delete(client))
  }
}

/** One command that is connected. */
class Client {
  readonly #socket: Socket
  readonly #options: HostServerOptions
  readonly #tree: SoftwareTree
  readonly #served = new Set<DeviceServer>()

  constructor(socket: Socket, options: HostServerOptions) {
    this.#socket = socket
    this.#options = options
    this.#tree = new SoftwareTree(options.host)
    const lines = new LineReader((line) => void this.#line(line))
    socket.on('data', (bytes: Buffer) => {
      try {
        lines.push(bytes)
      } catch {
        socket.destroy()
      }
    })
    socket.on('error', () => socket.destroy())
    socket.on('close', () => void this.#endServing())
  }

  async close(): Promise<void> {
    await this.#endServing()
    this.#socket.destroySoon() // what was answered goes out first
  }

  async #line(line: string): Promise<void> {
    const request = requestOf(line)
    if (request === undefined) return void this.#socket.destroy()
    try {
      this.#send({ id: request.id, result: await this.#answer(request) })
    } catch (error) {
      const { message, code, errno, syscall, remedy } = error as VfioError
      this.#send({
        id: request.id,
        error: {
          message,
          code,
          errno,
          syscall,
          ...(remedy === undefined ? {} : { remedy }),
        },
      })
    }
  }

  async #answer({ id, call, arguments: args }: Request): Promise<Requests[keyof Requests]['result']> {
    const { path, text, device, keepState, uid } = (args ?? {}) as { text?: unknown } & Partial<ServeRequest>
    switch (call) {
      case 'about':
        return this.#options.about
      case 'list':
        return this.#tree.list(textOf(path))
      case 'read':
        return this.#tree.read(textOf(path))
      case 'realpath':
        return this.#tree.realpath(textOf(path))
      case 'write':
        await this.#tree.write(textOf(path), textOf(text))
        return null
      case 'stop':
        this.#options.stop()
        return null
      case 'serve':
        await this.#serve(id, textOf(device), {
          path: textOf(path),
          keepState: keepState === true,
          ...(uid === undefined ? {} : { uid }),
        })
        return null
      default:
        throw new VfioError('EINVAL', String(call), { reason: 'the host knows no such request' })
    }
  }

  async #serve(id: number, name: string, options: { path: string; keepState: boolean; uid?: number }): Promise<void> {
    const server = await serveLogged(deviceOf(this.#options.host, name), name, options, (event, details) =>
      this.#send({ id, event, details }),
    )
    if (this.#socket.destroyed) return server.close()
    this.#served.add(server)
  }

  async #endServing(): Promise<void> {
    const served = [...this.#served]
    this.#served.clear()
    await Promise.all(served.map((server) => server.close()))
  }

  #send(message: Message): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`)
  }
}

/** Reads a line; nothing where it is no request. */
function requestOf(line: string): Request | undefined {
  try {
    const request = JSON.parse(line) as Partial<Request> | null
    return typeof request?.id === 'number' && typeof request.call === 'string' ? (request as Request) : undefined
  } catch {
    return undefined
  }
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  throw new VfioError('EINVAL', 'request', { reason: 'a text is missing' })
}

/** Removes the socket of a host that has died. @throws {VfioError} EADDRINUSE a host listens there, EEXIST something else is there */
async function removeStale(path: string): Promise<void> {
  const socket = connect(path)
  try {
    await once(socket, 'connect')
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'ENOENT') return
    if (code === 'ECONNREFUSED') return rmSync(path, { force: true })
    throw new VfioError('EEXIST', 'listen', { path, reason: `it is no socket of a host (${code})` })
  } finally {
    socket.destroy()
  }
  throw new VfioError('EADDRINUSE', 'listen', {
    path,
    reason: 'a host listens there',
    remedy: 'stop it with: vfio host --stop',
  })
}
