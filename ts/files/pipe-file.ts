/** A pipe of a simulated process, non-blocking: bytes go in at one end and come out at the other. */
import { VfioError } from '../errors.ts'
import type { Caller, OpenFile } from './open-file.ts'

const CAPACITY = 65536
const POLLIN = 1
const POLLOUT = 4
const POLLERR = 8
const POLLHUP = 16

interface Flow {
  readonly bytes: number[]
  readers: boolean
  writers: boolean
}

/** Makes a pipe: the end to read from and the end to write to. */
export function makePipe(): { read: OpenFile; write: OpenFile } {
  const flow: Flow = { bytes: [], readers: true, writers: true }
  return { read: new PipeReader(flow), write: new PipeWriter(flow) }
}

class PipeReader implements OpenFile {
  readonly kind = 'pipe'
  readonly #flow: Flow

  constructor(flow: Flow) {
    this.#flow = flow
  }

  read(_caller: Caller, into: Uint8Array, position: bigint | undefined): number {
    refusePosition('read', position)
    const { bytes, writers } = this.#flow
    if (into.byteLength === 0) return 0
    if (bytes.length === 0 && writers) throw new VfioError('EAGAIN', 'read', { reason: 'the pipe is empty' })
    const taken = bytes.splice(0, into.byteLength)
    into.set(taken)
    return taken.length
  }

  write(): number {
    throw new VfioError('EBADF', 'write', { reason: 'this end is for reading' })
  }

  poll(): number {
    return (this.#flow.bytes.length > 0 ? POLLIN : 0) | (this.#flow.writers ? 0 : POLLHUP)
  }

  release(): void {
    this.#flow.readers = false
  }
}

class PipeWriter implements OpenFile {
  readonly kind = 'pipe'
  readonly #flow: Flow

  constructor(flow: Flow) {
    this.#flow = flow
  }

  read(): number {
    throw new VfioError('EBADF', 'read', { reason: 'this end is for writing' })
  }

  write(_caller: Caller, from: Uint8Array, position: bigint | undefined): number {
    refusePosition('write', position)
    const { bytes, readers } = this.#flow
    if (!readers) throw new VfioError('EPIPE', 'write', { reason: 'nobody reads the pipe' })
    const room = CAPACITY - bytes.length
    if (room === 0 && from.byteLength > 0) throw new VfioError('EAGAIN', 'write', { reason: 'the pipe is full' })
    const taken = from.subarray(0, room)
    for (const byte of taken) bytes.push(byte)
    return taken.byteLength
  }

  poll(): number {
    return (this.#flow.bytes.length < CAPACITY ? POLLOUT : 0) | (this.#flow.readers ? 0 : POLLERR)
  }

  release(): void {
    this.#flow.writers = false
  }
}

function refusePosition(operation: string, position: bigint | undefined): void {
  if (position !== undefined) throw new VfioError('ESPIPE', operation, { reason: 'a pipe has no positions' })
}
