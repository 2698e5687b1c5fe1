/** What the tests of vfio-user share: folders for sockets, servers in other processes, raw clients. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const DIST = fileURLToPath(new URL('../../dist/', import.meta.url))
const PROGRAMS = fileURLToPath(new URL('programs/', import.meta.url))

/** A fresh folder, gone at the end with all that is in it. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'vfio-user-'))

  socket(name = 's'): string {
    return join(this.path, name)
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** A program in a process of its own, killed at the end unless it has ended by then. */
export class Program {
  readonly process: ChildProcess
  readonly #lines: string[] = []
  readonly ended: Promise<unknown>

  private constructor(file: string, args: readonly string[]) {
    this.process = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.ended = once(this.process, 'exit')
    const { stdout } = this.process
    if (stdout) createInterface({ input: stdout }).on('line', (line) => this.#lines.push(line))
  }

  /** Runs the command line tool. */
  static cli(...args: string[]): Program {
    return new Program(join(DIST, 'cli', 'main.js'), args)
  }

  /** Runs one of `programs/`, which may import the package from the folder that it gets as its first argument. */
  static run(name: string, ...args: string[]): Program {
    return new Program(join(PROGRAMS, name), [DIST, ...args])
  }

  /** The first line that was, or will be, printed and has `text` in it. */
  async line(text: string): Promise<string> {
    return until(() => this.#lines.find((line) => line.includes(text)), `a line with ${text}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill('SIGKILL')
    await this.ended
  }
}

/** Waits until `look` finds something. */
export async function until<T>(look: () => T, what: string): Promise<NonNullable<T>> {
  for (let tries = 0; tries < 1000; tries++) {
    const found = look()
    if (found !== undefined && found !== null && found !== false) return found
    await sleep(10)
  }
  throw new Error(`${what} did not come`)
}

/** Descriptors of this process, by what they lead to. */
export function descriptors(): { all: number; events: number; sockets: number; memory: number } {
  const counts = { all: 0, events: 0, sockets: 0, memory: 0 }
  for (const fd of readdirSync('/proc/self/fd')) {
    let link: string
    try {
      link = readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      continue // the one that reads the directory
    }
    counts.all++
    if (link === 'anon_inode:[eventfd]') counts.events++
    else if (link.startsWith('socket:')) counts.sockets++
    else if (link.startsWith('/memfd:')) counts.memory++
  }
  return counts
}

/** Kinds of descriptors of which there are more than there were, once threads that end have let go of theirs. */
export async function leaked(before: ReturnType<typeof descriptors>): Promise<string[]> {
  const more = () => {
    const now = descriptors()
    return (Object.keys(before) as (keyof typeof before)[]).filter((kind) => now[kind] > before[kind])
  }
  for (let tries = 0; tries < 500 && more().length > 0; tries++) await sleep(10)
  return more()
}

/** Descriptors, once threads that end have let go of theirs. */
export async function settledDescriptors(): Promise<ReturnType<typeof descriptors>> {
  let last = descriptors()
  for (let same = 0; same < 5;) {
    await sleep(10)
    const now = descriptors()
    same = now.all === last.all ? same + 1 : 0
    last = now
  }
  return last
}

/** The name of the errno that a promise is rejected with. */
export async function refusal(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'nothing',
    (error: { code?: string }) => error.code ?? String(error),
  )
}

/** A message as the protocol has it. */
export function message(id: number, command: number, body: Uint8Array = new Uint8Array(), flags = 0): Buffer {
  const bytes = Buffer.alloc(16 + body.byteLength)
  bytes.writeUInt16LE(id, 0)
  bytes.writeUInt16LE(command, 2)
  bytes.writeUInt32LE(bytes.byteLength, 4)
  bytes.writeUInt32LE(flags, 8)
  bytes.set(body, 16)
  return bytes
}

/** A version message that asks for 0.0 with nothing but defaults. */
export const VERSION = message(1, 1, Uint8Array.of(0, 0, 0, 0))

/** A client that writes what it likes. */
export class RawClient {
  readonly #socket: Socket
  #received = Buffer.alloc(0)
  readonly closed: Promise<unknown>

  private constructor(socket: Socket) {
    this.#socket = socket
    this.closed = once(socket, 'close')
    socket.on('data', (bytes) => (this.#received = Buffer.concat([this.#received, bytes])))
    socket.on('error', () => {})
  }

  static async connect(path: string): Promise<RawClient> {
    for (;;) {
      const socket = createConnection(path)
      try {
        await once(socket, 'connect')
        return new RawClient(socket)
      } catch (error) {
        // The server's queue is full.
        if ((error as { code?: string }).code !== 'EAGAIN') throw error
        await sleep(1)
      }
    }
  }

  /** Connects and introduces itself. */
  static async introduced(path: string): Promise<RawClient> {
    const client = await RawClient.connect(path)
    client.write(VERSION)
    await client.reply()
    return client
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes)
  }

  /** The next message of the server. */
  async reply(): Promise<{ id: number; command: number; flags: number; errno: number; body: Buffer }> {
    const bytes = await until(() => {
      if (this.#received.byteLength < 16) return undefined
      const size = this.#received.readUInt32LE(4)
      if (this.#received.byteLength < size) return undefined
      const whole = this.#received.subarray(0, size)
      this.#received = this.#received.subarray(size)
      return whole
    }, 'a reply')
    const [id, command] = [bytes.readUInt16LE(0), bytes.readUInt16LE(2)]
    return { id, command, flags: bytes.readUInt32LE(8), errno: bytes.readUInt32LE(12), body: bytes.subarray(16) }
  }

  /** Goes, without a word. */
  destroy(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.destroy()
  }
}

/** Waits until a file is gone. */
export async function gone(path: string): Promise<void> {
  await until(() => !existsSync(path), `the end of ${path}`)
}
