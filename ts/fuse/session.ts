/**
 * A mounted file system that this thread serves.
 *
 * Touching the mount from the very thread that serves it (`readFileSync`) is refused with EBUSY, since nobody would be left to
 * answer; waiting there for somebody else who touches it (`execFileSync`) lasts for ever. Another process may, and so may
 * `fs.promises`.
 */
import { isErrno, VfioError, warnOfModel } from '../errors.ts'
import { text } from '../shape.ts'
import type { NativeFuse, NativeFuseChange, NativeFuseMail, NativeFuseSettings } from '../native/addon-fuse.ts'
import { addon } from '../native/load.ts'
import { later, syscall } from '../native/syscall.ts'
import type { ErrnoName } from '../uapi/errno.ts'
import { FuseReply, requestOf, type FuseRequest } from './request.ts'

/** How a file system is mounted. */
export interface FuseOptions {
  /** Name of the source, as `mount` lists it; default `vfio`. */
  name?: string
  /** Users but the one who mounts may look in; default true. */
  allowOther?: boolean
  /** The kernel checks owners and permission bits; default true. */
  defaultPermissions?: boolean
  /** Files may have others behind their mappings, and direct ones may be mapped; default false. */
  passthrough?: boolean
}

/** What answers requests. */
export interface FuseFileSystem {
  /** Answers a request, now or later. Throwing a {@link VfioError} refuses with its errno, anything else with EIO and a warning. */
  request(request: FuseRequest, reply: FuseReply): void
  /** The kernel has forgotten a node as often as it was told of it by entries. */
  forget?(node: number, lookups: number): void
  /** The caller of a request has got a signal; the request still wants an answer (EINTR: given up). */
  interrupt?(token: number): void
  /** The file system is no longer mounted; `reason`: the errno, where it was neither closed nor unmounted. */
  ended?(reason: string | undefined): void
}

/** What watchers of a directory are to see. */
export type FuseChange = NativeFuseChange

/** One mounted file system; the program goes on until it has ended. */
export class FuseSession {
  readonly #native: NativeFuse
  readonly #files: FuseFileSystem
  readonly #closed: Promise<string | undefined>
  #resolveClosed: (reason: string | undefined) => void = () => {}
  #isOpen = true

  private constructor(native: NativeFuse, files: FuseFileSystem) {
    this.#native = native
    this.#files = files
    this.#closed = new Promise((resolve) => (this.#resolveClosed = resolve))
  }

  /**
   * Mounts at `directory`, which must exist. When this process dies, however that happens, a small process of its own takes the
   * mount away.
   * @throws {VfioError} EOPNOTSUPP this system has no FUSE; what mounting is refused with: ENOENT, ENOTDIR, EACCES, EPERM, ENODEV
   */
  static mount(directory: string, options: FuseOptions, files: FuseFileSystem): Promise<FuseSession> {
    return start(text(directory, 'directory'), options, (native) => new FuseSession(native, files))
  }

  /** Makes a mount that is nowhere yet: see {@link mountFd}. @throws {VfioError} as {@link mount} */
  static detached(options: FuseOptions, files: FuseFileSystem): Promise<FuseSession> {
    return start(null, options, (native) => new FuseSession(native, files))
  }

  /** Answers what has come in. Called whenever the native side has mail. */
  pump(): void {
    for (let mail = this.#native.next(); mail !== null; mail = this.#native.next()) this.#take(mail)
  }

  /** Whether requests may still come. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Fulfilled when the mount has gone; with the errno, where it was neither closed nor unmounted. */
  get closed(): Promise<string | undefined> {
    return this.#closed
  }

  /** Has the kernel look up a name anew. */
  invalidateEntry(parent: number, name: string): void {
    this.#native.invalidateEntry(parent, name)
  }

  /** Says that a name has gone with its node; who watches the node sees it deleted. */
  deleteEntry(parent: number, child: number, name: string): void {
    this.#native.deleteEntry(parent, child, name)
  }

  /** Has the kernel ask for attributes anew. */
  invalidateNode(node: number): void {
    this.#native.invalidateNode(node)
  }

  /**
   * Tells those who watch (`inotify`) of a change at `path`, relative to the root, that has happened. The kernel offers nothing
   * for that, so a thread of the session makes or removes there, through the mount, what is there or gone already; its
   * requests have `own` set, and the file system agrees: `lookup` of what has appeared answers ENOENT, of what has gone the
   * node; `mkdir`, `mknod`, `symlink` the node, `unlink` and `rmdir` done.
   */
  announce(change: FuseChange, path: string): void {
    this.#native.announce(change, path)
  }

  /** Wakes who polls; `kh` is that of the request. */
  wakePoll(kh: number): void {
    this.#native.wakePoll(kh)
  }

  /** Registers a file for {@link FOPEN_PASSTHROUGH}. @throws {VfioError} EBADF, EPERM, EOPNOTSUPP, ELOOP, ENOTTY before Linux 6.9 */
  openBacking(fd: number): number {
    return syscall('FUSE_DEV_IOC_BACKING_OPEN', () => this.#native.openBacking(fd))
  }

  /** Forgets such a file; what is open or mapped stays. @throws {VfioError} EBADF, EPERM, ENOENT */
  closeBacking(id: number): void {
    syscall('FUSE_DEV_IOC_BACKING_CLOSE', () => this.#native.closeBacking(id))
  }

  /** A new descriptor of a {@link detached} mount, for the caller to move (`move_mount`) and close. @throws {VfioError} EBADF, EINVAL */
  mountFd(): number {
    return syscall('fsmount', () => this.#native.mountFd())
  }

  /** Takes the mount away. What is open is dead then; {@link closed} tells when that is done. Idempotent. */
  close(): Promise<string | undefined> {
    this.#native.close()
    return this.closed
  }

  /** As {@link close}. */
  [Symbol.dispose](): void {
    void this.close()
  }

  /** As {@link close}, and waits. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #take(mail: NativeFuseMail): void {
    const files = this.#files
    try {
      if (mail.op === 'forget') files.forget?.(mail.node ?? 0, mail.size ?? 0)
      else if (mail.op === 'interrupt') files.interrupt?.(mail.token)
      else if (mail.op === 'ended') this.#end(mail.reason)
      else files.request(requestOf(mail, mail.op), new FuseReply(this.#native, mail.token))
    } catch (error) {
      const known = isErrno(error)
      if (!known) warnOfModel(error)
      if (mail.op !== 'ended') new FuseReply(this.#native, mail.token).error(known ? error.code : 'EIO')
    }
  }

  #end(reason: string | undefined): void {
    this.#isOpen = false
    this.#resolveClosed(reason)
    this.#files.ended?.(reason)
  }
}

async function start(
  directory: string | null,
  options: FuseOptions,
  make: (native: NativeFuse) => FuseSession,
): Promise<FuseSession> {
  const { mountFuse } = addon()
  if (mountFuse === undefined) throw new VfioError('EOPNOTSUPP', 'mount', { reason: 'this system has no FUSE' })
  const settings: NativeFuseSettings = { ...options }
  const served: { session?: FuseSession } = {}
  const native = await later('mount', () => mountFuse(directory, settings, () => served.session?.pump()))
  const failure = native.failure()
  if (failure !== null) throw refusal(directory, failure)
  const session = make(native)
  served.session = session
  // What came in before anybody could look.
  session.pump()
  return session
}

/** Says what to do about a mount that was refused. */
function refusal(directory: string | null, { step, code }: { step: string; code: string }): VfioError {
  const remedies: Readonly<Record<string, string>> = {
    EPERM: 'mounting needs CAP_SYS_ADMIN: run as root, or in a user namespace of your own (unshare -rm)',
    EACCES: 'the file /dev/fuse must be open to this user',
    ENODEV: 'load the module fuse',
  }
  const path = directory ?? undefined
  const remedy = step === 'opening /dev/fuse' && code === 'ENOENT' ? 'load the module fuse' : remedies[code]
  return new VfioError(code as ErrnoName, 'mount', {
    reason: step,
    ...(path === undefined ? {} : { path }),
    ...(remedy === undefined ? {} : { remedy }),
  })
}
