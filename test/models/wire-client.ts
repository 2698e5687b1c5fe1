/** A vfio-user client of a few lines, which shares nothing with the server that it talks to. */
import { once } from 'node:events'
import { connect } from 'node:net'

const [VERSION, REGION_READ, REGION_WRITE, RESET] = [1, 9, 10, 13]
const HEADER = 16
const ERROR = 0x20

/** A refusal: the errno, as a number. */
export class Refused extends Error {
  readonly errno: number
  constructor(errno: number) {
    super(`errno ${errno}`)
    this.errno = errno
  }
}

export async function wireClient(path: string) {
  const socket = connect(path)
  await once(socket, 'connect')
  const waiting = new Map<number, { done(body: Buffer): void; failed(error: Error): void }>()
  /** Numbers of the requests, in the order of their replies. */
  const replies: number[] = []
  let received = Buffer.alloc(0)
  let id = 0
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk])
    while (received.length >= HEADER && received.length >= received.readUInt32LE(4)) {
      const [number, size, flags] = [received.readUInt16LE(0), received.readUInt32LE(4), received.readUInt32LE(8)]
      const errno = received.readUInt32LE(12)
      const body = Buffer.from(received.subarray(HEADER, size))
      received = received.subarray(size)
      replies.push(number)
      const { done, failed } = waiting.get(number) ?? { done() {}, failed() {} }
      waiting.delete(number)
      if ((flags & ERROR) === 0) done(body)
      else failed(new Refused(errno))
    }
  })
  socket.on('error', () => {})
  socket.on('close', () => waiting.forEach(({ failed }) => failed(new Refused(0))))

  function request(command: number, body: Uint8Array): Promise<Buffer> {
    const header = Buffer.alloc(HEADER)
    header.writeUInt16LE(++id, 0)
    header.writeUInt16LE(command, 2)
    header.writeUInt32LE(HEADER + body.length, 4)
    socket.write(Buffer.concat([header, body]))
    const number = id
    return new Promise((done, failed) => waiting.set(number, { done, failed }))
  }

  function access(region: number, offset: number, count: number): Buffer {
    const head = Buffer.alloc(16)
    head.writeBigUInt64LE(BigInt(offset), 0)
    head.writeUInt32LE(region, 8)
    head.writeUInt32LE(count, 12)
    return head
  }

  const version = Buffer.from('\0\0\x01\0{"capabilities":{}}\0')
  await request(VERSION, version)
  return {
    replies,
    read: async (region: number, offset: number, count: number) =>
      (await request(REGION_READ, access(region, offset, count))).subarray(16),
    write: async (region: number, offset: number, data: Uint8Array) =>
      void (await request(REGION_WRITE, Buffer.concat([access(region, offset, data.length), data]))),
    reset: async () => void (await request(RESET, new Uint8Array())),
    close: () => socket.destroy(),
  }
}
