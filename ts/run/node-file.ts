/** A file of the machine that programs have open: requests of the file system become calls of the file door. */
import type { RegionMapping } from '../device/ops.ts'
import { VfioError, warnOfModel } from '../errors.ts'
import { ioctlArgument } from '../files/argument.ts'
import type { Caller, HeldFile, OpenFile } from '../files/open-file.ts'
import { FOPEN_DIRECT_IO, FOPEN_NOFLUSH, type FuseReply, type FuseRequest } from '../fuse/request.ts'
import type { OpenedNode } from '../mount/shown.ts'
import type { KnownFile } from './foreign-process.ts'

/** Finds out who calls. @throws {VfioError} ESRCH */
export type CallerOf = (thread: number, ioctl?: bigint) => Caller

const PAGE = 4096
const PAGES_KEPT = 64
/** Whose requests are of another architecture's encoding. */
const FUSE_IOCTL_COMPAT = 1
const READY = 5

/** An open file. It is released when neither a program nor anybody else holds it. */
export class NodeFile implements OpenedNode, KnownFile {
  readonly flags = FOPEN_DIRECT_IO | FOPEN_NOFLUSH
  readonly file: OpenFile
  readonly #callerOf: CallerOf
  readonly #released: () => void
  readonly #pages = new Map<bigint, RegionMapping>()
  #holders = 1

  constructor(file: OpenFile, callerOf: CallerOf, released: () => void = () => {}) {
    this.file = file
    this.#callerOf = callerOf
    this.#released = released
  }

  read({ tid, offset, size, page }: FuseRequest, reply: FuseReply): void {
    // What is mapped has no pages: an access is a SIGBUS, which the tracer sees before the program does.
    if (page) return reply.error('EIO')
    if (this.file.read === undefined) return reply.error('EINVAL')
    const into = new Uint8Array(size)
    const done = this.file.read(this.#callerOf(tid), into, this.#position(offset))
    reply.data(into.subarray(0, done))
  }

  write({ tid, offset, data }: FuseRequest, reply: FuseReply): void {
    if (this.file.write === undefined) return reply.error('EINVAL')
    reply.written(this.file.write(this.#callerOf(tid), data, this.#position(offset)))
  }

  ioctl({ tid, cmd, arg, flags }: FuseRequest, reply: FuseReply): void {
    if ((flags & FUSE_IOCTL_COMPAT) !== 0) return reply.error('ENOTTY')
    reply.ioctl(this.request(this.#callerOf(tid), cmd, arg))
  }

  poll(_request: FuseRequest, reply: FuseReply): void {
    reply.polled(this.file.poll?.() ?? READY)
  }

  /** Sends a request. @throws {VfioError} ENOTTY, and what the file refuses with */
  request(caller: Caller, request: number, argument: bigint): number {
    if (this.file.ioctl === undefined) throw new VfioError('ENOTTY', 'ioctl')
    return this.file.ioctl(caller, request, ioctlArgument(argument, caller.mm))
  }

  /** Reads where a program has mapped the file. @throws {VfioError} there is nothing to be mapped */
  readMapped(caller: Caller, offset: number, size: number): Uint8Array {
    const view = new DataView(new ArrayBuffer(size))
    for (const { at, place, width } of pieces(offset, size)) {
      const value = this.#page(caller, place).read(BigInt(place % PAGE), width)
      for (let byte = 0; byte < width; byte++) view.setUint8(at + byte, Number((value >> BigInt(8 * byte)) & 0xffn))
    }
    return new Uint8Array(view.buffer)
  }

  /** Writes there. @throws {VfioError} there is nothing to be mapped */
  writeMapped(caller: Caller, offset: number, data: Uint8Array): void {
    for (const { at, place, width } of pieces(offset, data.byteLength)) {
      let value = 0n
      for (let byte = width - 1; byte >= 0; byte--) value = (value << 8n) | BigInt(data[at + byte] ?? 0)
      this.#page(caller, place).write(BigInt(place % PAGE), width, value)
    }
  }

  hold(): HeldFile {
    this.#holders++
    let held = true
    const release = (): void => {
      if (held) this.release()
      held = false
    }
    return { file: this.file, release }
  }

  release(): void {
    if (--this.#holders > 0) return
    for (const mapping of this.#pages.values()) mapping.close()
    this.#pages.clear()
    this.#released()
    try {
      this.file.release?.()
    } catch (error) {
      warnOfModel(error) // closing does not fail
    }
  }

  /** Devices have regions at positions, everything else is a stream. */
  #position(offset: number): bigint | undefined {
    return this.file.mmap === undefined ? undefined : BigInt(offset)
  }

  #page(caller: Caller, place: number): RegionMapping {
    const page = BigInt(place - (place % PAGE))
    let mapping = this.#pages.get(page)
    if (mapping !== undefined) return mapping
    if (this.file.mmap === undefined) throw new VfioError('ENODEV', 'mmap')
    mapping = this.file.mmap(caller, page, BigInt(PAGE), { read: true, write: true, execute: false, shared: true })
    const [oldest] = this.#pages
    if (this.#pages.size >= PAGES_KEPT && oldest !== undefined) {
      this.#pages.delete(oldest[0])
      oldest[1].close()
    }
    this.#pages.set(page, mapping)
    return mapping
  }
}

/** Cuts an access into naturally aligned parts of up to 8 bytes. */
function* pieces(offset: number, size: number): Generator<{ at: number; place: number; width: 1 | 2 | 4 | 8 }> {
  for (let at = 0; at < size;) {
    const place = offset + at
    const width = ([8, 4, 2] as const).find((wide) => place % wide === 0 && at + wide <= size) ?? 1
    yield { at, place, width }
    at += width
  }
}
