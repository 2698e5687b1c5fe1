/**
 * What a host and the commands say to each other: JSON, a line each, over a private socket.
 *
 * A request has an id of the client's; its answer bears it. Events of a served device bear the id of the request that serves
 * it, until the client goes away, which ends the serving.
 */

/** What a host can be asked. */
export interface Requests {
  about: { arguments: Record<never, never>; result: HostAbout }
  list: { arguments: { path: string }; result: string[] }
  read: { arguments: { path: string }; result: string }
  write: { arguments: { path: string; text: string }; result: null }
  realpath: { arguments: { path: string }; result: string }
  serve: { arguments: ServeRequest; result: null }
  stop: { arguments: Record<never, never>; result: null }
}

/** What a host says of itself. */
export interface HostAbout {
  pid: number
  version: string
  mounts: string[]
}

/** Which device is to be served, and how. */
export interface ServeRequest {
  /** UUID of a mediated device, or address of a PCI function. */
  device: string
  path: string
  keepState: boolean
  uid?: number
}

/** A request on the wire. */
export interface Request {
  id: number
  call: keyof Requests
  arguments: unknown
}

/** A refusal on the wire. */
export interface Refusal {
  message: string
  code?: string
  errno?: number
  syscall?: string
  remedy?: string
}

/** What a host sends. */
export type Message =
  | { id: number; result: unknown }
  | { id: number; error: Refusal }
  | { id: number; event: string; details: Record<string, unknown> }

/** Longest line that either side takes, in bytes. */
export const LONGEST_LINE = 1 << 20

/** Cuts a stream of bytes into lines. */
export class LineReader {
  readonly #line: (text: string) => void
  #parts: Buffer[] = []
  #length = 0

  constructor(line: (text: string) => void) {
    this.#line = line
  }

  /** Takes bytes in. @throws {RangeError} a line is longer than {@link LONGEST_LINE} */
  push(bytes: Buffer): void {
    let rest = bytes
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      this.#keep(rest.subarray(0, end))
      const text = Buffer.concat(this.#parts).toString('utf8')
      this.#parts = []
      this.#length = 0
      rest = rest.subarray(end + 1)
      this.#line(text)
    }
    this.#keep(rest)
  }

  #keep(part: Buffer): void {
    this.#length += part.length
    if (this.#length > LONGEST_LINE) throw new RangeError('the line is too long')
    if (part.length > 0) this.#parts.push(part)
  }
}
