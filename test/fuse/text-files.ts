/** A small file system for tests: text files in the root, and what was asked of it. */
import { VfioError } from '../../ts/errors.ts'
import { FOPEN_DIRECT_IO, type FuseReply, type FuseRequest } from '../../ts/fuse/request.ts'
import type { FuseFileSystem } from '../../ts/fuse/session.ts'

const S_IFDIR = 0o040000
const S_IFREG = 0o100000

export class TextFiles implements FuseFileSystem {
  readonly names: string[]
  readonly seen: FuseRequest[] = []
  readonly interrupted: number[] = []
  /** Reads that wait for {@link release}. */
  readonly waiting: FuseReply[] = []
  endedWith: string | undefined | null = null

  constructor(files: Record<string, string>) {
    this.names = Object.keys(files)
    this.#texts = Object.values(files)
  }

  readonly #texts: string[]

  request(request: FuseRequest, reply: FuseReply): void {
    this.seen.push(request)
    const { op, node } = request
    const at = node - 2
    if (op === 'lookup') {
      const found = this.names.indexOf(request.name)
      return found < 0 ? reply.error('ENOENT') : reply.entry(this.#attributes(found + 2))
    }
    if (op === 'getattr' || op === 'setattr') return reply.attributes(this.#attributes(node))
    if (op === 'open') return reply.opened(at, FOPEN_DIRECT_IO)
    if (op === 'opendir') return reply.opened(0)
    if (op === 'readdir') {
      return reply.listed(this.names.map((name, i) => ({ name, node: i + 2, mode: S_IFREG })))
    }
    if (op === 'read') {
      if (this.names[at] === 'slow') return void this.waiting.push(reply)
      if (this.names[at] === 'broken') throw new Error('a bug of the file system')
      if (this.names[at] === 'refusing') throw new VfioError('ENODEV', 'read')
      return reply.data(Buffer.from(this.#texts[at] ?? '').subarray(request.offset, request.offset + request.size))
    }
    if (op === 'write') {
      this.#texts[at] = Buffer.from(request.data).toString()
      return reply.written(request.data.byteLength)
    }
    if (op === 'ioctl') return request.cmd === 0x3b64 ? reply.ioctl(7) : reply.error('ENOTTY')
    if (op === 'statfs') return reply.statfs()
    if (op === 'release' || op === 'releasedir' || op === 'flush') return reply.done()
    reply.error('ENOSYS')
  }

  interrupt(token: number): void {
    this.interrupted.push(token)
    this.waiting.pop()?.error('EINTR')
  }

  ended(reason: string | undefined): void {
    this.endedWith = reason
  }

  text(name: string): string | undefined {
    return this.#texts[this.names.indexOf(name)]
  }

  #attributes(node: number) {
    const mode = node === 1 ? S_IFDIR | 0o755 : S_IFREG | 0o644
    return { node, mode, size: node === 1 ? 0 : (this.#texts[node - 2]?.length ?? 0), uid: 0, gid: 0 }
  }
}
