/** An open file of a simulated process, as programs use it: the byte-exact door. */
import type { RegionMapping } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import { type ArgumentSource, ioctlArgument } from '../files/argument.ts'
import type { Caller } from '../files/open-file.ts'
import { bytes, flag, record, u32, u64, type U64 } from '../shape.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import type { Descriptors, OpenDescription } from './descriptors.ts'

/** Name of a request, such as `'VFIO_GROUP_GET_STATUS'`. */
export type IoctlName = keyof typeof IOCTL

/** A part of a file to map. */
export interface FileMapRequest {
  /** Offset in the file; default 0. */
  offset?: U64
  length: U64
  /** Default true. */
  read?: boolean
  /** Default true. */
  write?: boolean
  execute?: boolean
  /** `MAP_SHARED` (default) or `MAP_PRIVATE`. */
  shared?: boolean
}

/** What a handle needs of its process. */
export interface HandleOwner {
  readonly caller: Caller
  readonly descriptors: Descriptors
  /** The handle of a descriptor. @throws {VfioError} EBADF */
  file(fd: number): FileHandle
  /** Number by which a request of the machine's own encoding is known here. */
  request(number: number): number
  /** A file was mapped: gives the mapping an address. @throws {VfioError} ENOMEM */
  mapped(mapping: RegionMapping, access: { read: boolean; write: boolean }): RegionMapping
}

/** Bits of `poll`. */
const POLLIN = 1
const POLLOUT = 4

/**
 * A descriptor of a simulated process.
 *
 * Every method throws `VfioError` EBADF once it is closed; what else it throws is what the kernel answers for that file.
 */
export class FileHandle {
  /** The descriptor's number. */
  readonly fd: number
  readonly #owner: HandleOwner
  readonly #description: OpenDescription

  /**
   * Made by the process only.
   * @internal
   */
  constructor(owner: HandleOwner, fd: number, description: OpenDescription) {
    this.#owner = owner
    this.fd = fd
    this.#description = description
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#owner.descriptors.get(this.fd) !== this.#description
  }

  /**
   * Whether this handle stands for that open file.
   * @internal
   */
  describes(description: OpenDescription): boolean {
    return this.#description === description
  }

  /**
   * Sends a request, by name or number.
   *
   * @param argument absent: 0; a number or bigint: the value, an address of the process where a pointer is asked for; bytes: what a
   *   pointer leads to, changed in place; a string: with a NUL behind it
   * @returns the call's value; a new descriptor where the request gives one (`process.file` has its handle)
   * @throws {VfioError} EBADF closed, ENOTTY not a request of this file, and what the file refuses with
   */
  ioctl(request: IoctlName | number, argument: ArgumentSource = 0n): number {
    const { file } = this.#open('ioctl')
    const number = typeof request === 'string' ? numberOf(request) : this.#owner.request(u32(request, 'request'))
    const { caller } = this.#owner
    const source = ioctlArgument(argument, caller.mm)
    if (!file.ioctl) throw new VfioError('ENOTTY', 'ioctl', { reason: `a ${file.kind} file takes no requests` })
    return file.ioctl(caller, number, source)
  }

  /**
   * Fills `into` from `position` on, or as a stream; returns how many bytes.
   * @throws {VfioError} EBADF closed or not open for reading, EINVAL the file is not read, and what the file refuses with
   */
  read(into: ArrayBufferView | ArrayBuffer | SharedArrayBuffer, position?: U64): number {
    const target = bytes(into, 'into')
    const at = position === undefined ? undefined : u64(position, 'position')
    const { file, read } = this.#open('read')
    if (!read) throw new VfioError('EBADF', 'read', { reason: 'the file was not opened for reading' })
    if (!file.read) throw new VfioError('EINVAL', 'read', { reason: `a ${file.kind} file is not read` })
    return file.read(this.#owner.caller, target, signed(at))
  }

  /**
   * Writes to `position`, or as a stream; returns how many bytes.
   * @throws {VfioError} EBADF closed or not open for writing, EINVAL the file is not written, and what the file refuses with
   */
  write(from: ArrayBufferView | ArrayBuffer | SharedArrayBuffer, position?: U64): number {
    const source = bytes(from, 'from')
    const at = position === undefined ? undefined : u64(position, 'position')
    const { file, write } = this.#open('write')
    if (!write) throw new VfioError('EBADF', 'write', { reason: 'the file was not opened for writing' })
    if (!file.write) throw new VfioError('EINVAL', 'write', { reason: `a ${file.kind} file is not written` })
    return file.write(this.#owner.caller, source, signed(at))
  }

  /**
   * Maps a part of the file into the process; `process.addressOf` tells where.
   * @throws {VfioError} EBADF closed, EACCES not opened for that, ENODEV the file is not mapped, EINVAL, ENOMEM
   */
  mmap(request: FileMapRequest): RegionMapping {
    const offset = u64(record(request, 'request').offset ?? 0n, 'offset')
    const length = u64(request.length, 'length')
    const access = {
      read: flag(request.read, 'read', true),
      write: flag(request.write, 'write', true),
      execute: flag(request.execute, 'execute', false),
      shared: flag(request.shared, 'shared', true),
    }
    const { file, read, write } = this.#open('mmap')
    if (length === 0n) throw new VfioError('EINVAL', 'mmap', { reason: 'nothing is to be mapped' })
    if (!read || (access.shared && access.write && !write)) {
      throw new VfioError('EACCES', 'mmap', { reason: 'the file was not opened for that' })
    }
    if (!file.mmap) throw new VfioError('ENODEV', 'mmap', { reason: `a ${file.kind} file is not mapped` })
    const mapping = file.mmap(this.#owner.caller, BigInt.asIntN(64, offset), length, access)
    try {
      return this.#owner.mapped(mapping, access)
    } catch (error) {
      mapping.close()
      throw error
    }
  }

  /** Which of POLLIN (1), POLLOUT (4), POLLERR (8) and POLLHUP (16) are the case. @throws {VfioError} EBADF */
  poll(): number {
    const { file } = this.#open('poll')
    return file.poll?.() ?? POLLIN | POLLOUT
  }

  /** Another descriptor for the same open file. @throws {VfioError} EBADF, EMFILE */
  dup(): FileHandle {
    return this.#owner.file(this.#owner.descriptors.install(this.#open('dup')))
  }

  /** Closes the descriptor (idempotent); the last one closes the file. */
  close(): void {
    if (!this.closed) this.#owner.descriptors.close(this.fd)
  }

  /** Closes the descriptor. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(operation: string): OpenDescription {
    if (this.closed) throw new VfioError('EBADF', operation, { reason: `descriptor ${this.fd} was closed` })
    return this.#description
  }
}

function numberOf(name: string): number {
  if (Object.hasOwn(IOCTL, name)) return IOCTL[name as IoctlName]
  throw new VfioError('ENOTTY', 'ioctl', { reason: `there is no request ${name}` })
}

/** A position as files see it: beyond 2^63 it is negative. */
function signed(position: bigint | undefined): bigint | undefined {
  return position === undefined ? undefined : BigInt.asIntN(64, position)
}
