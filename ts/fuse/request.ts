/** Requests of the kernel to a file system, and the answers to them. */
import type {
  NativeFuse,
  NativeFuseAttributes,
  NativeFuseListed,
  NativeFuseMail,
  NativeFuseOp,
} from '../native/addon-fuse.ts'
import { ERRNO, type ErrnoName } from '../uapi/errno.ts'

/** What is asked for. */
export type FuseOp = Exclude<NativeFuseOp, 'forget' | 'interrupt' | 'ended'>

/** A request; what does not apply to its operation is zero or empty. */
export interface FuseRequest {
  /** Names the request, as {@link FuseFileSystem.interrupt} does. */
  token: number
  op: FuseOp
  node: number
  uid: number
  gid: number
  /** **Thread** id of the caller; 0: the kernel. */
  tid: number
  /** The session itself asks, to announce a change: see {@link FuseSession.announce}. */
  own: boolean
  name: string
  /** New name, or target of a link. */
  newName: string
  /** Directory of the new name, or node that gets another name. */
  otherNode: number
  /** What opening answered; undefined where `getattr` is not of an open file. */
  fh: number | undefined
  flags: number
  offset: number
  size: number
  /** Permission bits; mask of `access`, events of `poll`. */
  mode: number
  /** Attributes that `setattr` sets: {@link FATTR_SIZE} and so on. */
  valid: number
  newUid: number
  newGid: number
  cmd: number
  arg: bigint
  data: Uint8Array
  kh: number
  /** Of a read: the kernel fills a page of a mapping. */
  page: boolean
}

/** Attributes of a node; `mode` with the file type. */
export type FuseAttributes = NativeFuseAttributes

/** An entry of a directory. */
export type FuseListed = NativeFuseListed

/** `FOPEN_DIRECT_IO`: every read and write reaches the file system. */
export const FOPEN_DIRECT_IO = 1
/** `FOPEN_NONSEEKABLE`. */
export const FOPEN_NONSEEKABLE = 4
/** `FOPEN_NOFLUSH`: closing a descriptor is not told, only the end of the file. */
export const FOPEN_NOFLUSH = 32
/** `FOPEN_STREAM`. */
export const FOPEN_STREAM = 16
/** `FOPEN_PASSTHROUGH`: a backing file stands behind mappings, and behind reads and writes unless they are direct. */
export const FOPEN_PASSTHROUGH = 128

/** `FATTR_MODE` */
export const FATTR_MODE = 1
/** `FATTR_UID` */
export const FATTR_UID = 2
/** `FATTR_GID` */
export const FATTR_GID = 4
/** `FATTR_SIZE` */
export const FATTR_SIZE = 8

/**
 * Answers one request, at once or later. The first answer counts; what comes after it, or after the session has ended, is ignored.
 * An answer that does not fit the operation is refused to the caller with EIO.
 */
export class FuseReply {
  readonly #native: NativeFuse
  readonly #token: number
  #answered: (() => void) | undefined

  constructor(native: NativeFuse, token: number) {
    this.#native = native
    this.#token = token
  }

  /** Has `answered` called once there is an answer; the latest such function counts. */
  onAnswer(answered: () => void): this {
    this.#answered = answered
    return this
  }

  /** Refuses. */
  error(code: ErrnoName): void {
    this.#send(() => this.#native.refuse(this.#token, ERRNO[code]))
  }

  /** Says that it is done: `release`, `flush`, `fsync`, `access`, `unlink`, `rmdir`, `releasedir`, `rename`. */
  done(): void {
    this.#send(() => this.#native.done(this.#token))
  }

  /** The node: `lookup`, and what makes nodes. */
  entry(attributes: FuseAttributes): void {
    this.#send(() => this.#native.entry(this.#token, attributes))
  }

  /** `getattr`, `setattr`. */
  attributes(attributes: FuseAttributes): void {
    this.#send(() => this.#native.attributes(this.#token, attributes))
  }

  /** `open`, `opendir`: `fh` comes with every use of the file. */
  opened(fh: number, flags = 0, backing = 0): void {
    this.#send(() => this.#native.opened(this.#token, fh, flags, backing))
  }

  /** `read`, `readlink`. */
  data(data: Uint8Array | string): void {
    this.#send(() => this.#native.data(this.#token, typeof data === 'string' ? Buffer.from(data) : data))
  }

  /** `write`: how many bytes were taken. */
  written(count: number): void {
    this.#send(() => this.#native.written(this.#token, count))
  }

  /** `ioctl`: what it returns, or a negated errno. */
  ioctl(result: number, data?: Uint8Array): void {
    this.#send(() => this.#native.ioctl(this.#token, result, data))
  }

  /** `poll`: what is ready. */
  polled(events: number): void {
    this.#send(() => this.#native.polled(this.#token, events))
  }

  /** `readdir`: all entries of the directory; what was asked for is cut out of them. */
  listed(entries: FuseListed[]): void {
    this.#send(() => this.#native.listed(this.#token, entries))
  }

  /** `statfs`: no blocks, names of 255 bytes. */
  statfs(): void {
    this.#send(() => this.#native.statfs(this.#token))
  }

  #send(send: () => void): void {
    send()
    const answered = this.#answered
    this.#answered = undefined
    answered?.()
  }
}

const NOTHING = new Uint8Array(0)

/** Fills in what the native side leaves out. */
export function requestOf(mail: NativeFuseMail, op: FuseOp): FuseRequest {
  return {
    token: mail.token,
    op,
    node: mail.node ?? 0,
    uid: mail.uid ?? 0,
    gid: mail.gid ?? 0,
    tid: mail.tid ?? 0,
    own: mail.own ?? false,
    name: mail.name ?? '',
    newName: mail.newName ?? '',
    otherNode: mail.otherNode ?? 0,
    fh: mail.fh,
    flags: mail.flags ?? 0,
    offset: mail.offset ?? 0,
    size: mail.size ?? 0,
    mode: mail.mode ?? 0,
    valid: mail.valid ?? 0,
    newUid: mail.newUid ?? 0,
    newGid: mail.newGid ?? 0,
    cmd: mail.cmd ?? 0,
    arg: mail.arg ?? 0n,
    data: mail.data ?? NOTHING,
    kh: mail.kh ?? 0,
    page: mail.page ?? false,
  }
}
