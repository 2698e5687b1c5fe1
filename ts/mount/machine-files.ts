/**
 * A machine's trees as a file system: `sys` and `dev` below the root, or one of them as the root.
 *
 * Nothing is cached, neither here nor in the kernel. Nodes are found by their paths each time, so a file that is open when its
 * attribute goes answers ENODEV, and a directory ENOENT. What may not be done in sysfs is refused as there: names cannot be
 * made (EACCES for files, else EPERM), renamed or removed (EPERM).
 */
import { VfioError } from '../errors.ts'
import { FATTR_GID, FATTR_MODE, FATTR_UID, FOPEN_DIRECT_IO } from '../fuse/request.ts'
import type { FuseAttributes, FuseListed, FuseReply, FuseRequest } from '../fuse/request.ts'
import type { FuseFileSystem, FuseSession } from '../fuse/session.ts'
import { Announcements } from './announcements.ts'
import { Inodes, ROOT } from './inodes.ts'
import { S_IFDIR, type OpenedNode, type ShownNode, type ShownTree } from './shown.ts'

/** What an open directory or file is here. */
type Handle = { entries: FuseListed[] } | OpenedNode

const READY = 0x145 // POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM

/** Answers the requests of one mount. */
export class MachineFiles implements FuseFileSystem {
  readonly #trees: ReadonlyMap<string, ShownTree>
  /** Path of the root: empty, or that of one tree. */
  readonly #root: string
  readonly #inodes = new Inodes()
  readonly #handles = new Map<number, Handle>()
  readonly #waiting = new Map<number, OpenedNode>()
  readonly #began = Math.floor(Date.now() / 1000)
  #announcements: Announcements | undefined
  #unwatch: (() => void)[] = []
  #lastHandle = 0

  /** `trees` by name; `only`: that one is the root. */
  constructor(trees: ReadonlyMap<string, ShownTree>, only?: string) {
    this.#trees = trees
    this.#root = only === undefined ? '' : `/${only}`
  }

  /** Tells those who watch of changes from now on. */
  announceThrough(session: FuseSession): void {
    const announcements = new Announcements((change, path) => session.announce(change, path))
    this.#announcements = announcements
    for (const tree of this.#trees.values()) {
      const told = tree.watch((change) => {
        if (!change.path.startsWith(`${this.#root}/`)) return
        announcements.add({ ...change, path: change.path.slice(this.#root.length) })
      })
      this.#unwatch.push(told)
    }
  }

  /** Keeps an open file that no name led to, and returns its handle. */
  keep(file: OpenedNode): number {
    return this.#hold(file)
  }

  /** Forgets a handle that nobody was told of. */
  drop(handle: number): void {
    this.#handles.delete(handle)
  }

  /** The open file of a handle. */
  opened(handle: number): OpenedNode | undefined {
    const file = this.#handles.get(handle)
    return file === undefined || 'entries' in file ? undefined : file
  }

  request(request: FuseRequest, reply: FuseReply): void {
    switch (request.op) {
      case 'lookup':
        return this.#lookup(request, reply)
      case 'getattr':
        return reply.attributes(this.#attributes(request.node, this.#node(request.node)))
      case 'setattr':
        return this.#setattr(request, reply)
      case 'readlink':
        return reply.data(this.#node(request.node).target ?? refuse('EINVAL', 'readlink'))
      case 'opendir':
        return reply.opened(this.#hold({ entries: this.#list(request.node) }))
      case 'readdir':
        return this.#readdir(request, reply)
      case 'open':
        return this.#open(request, reply)
      case 'read':
      case 'write':
      case 'ioctl':
      case 'poll':
        return this.#use(request.op, request, reply)
      case 'release':
      case 'releasedir':
        return this.#release(request, reply)
      case 'mkdir':
      case 'mknod':
      case 'symlink':
        return this.#announceMade(request, reply)
      case 'rmdir':
      case 'unlink':
        return this.#announceGone(request, reply)
      case 'create':
        return reply.error('EACCES')
      case 'rename':
      case 'link':
        return reply.error('EPERM')
      case 'statfs':
        return reply.statfs()
      case 'flush':
      case 'fsync':
      case 'access':
        return reply.done()
      default:
        return reply.error('ENOSYS')
    }
  }

  forget(node: number, lookups: number): void {
    this.#inodes.forget(node, lookups)
  }

  interrupt(token: number): void {
    this.#waiting.get(token)?.interrupt?.(token)
  }

  ended(): void {
    for (const unwatch of this.#unwatch.splice(0)) unwatch()
    for (const handle of this.#handles.values()) if ('release' in handle) handle.release?.()
    this.#handles.clear()
    this.#waiting.clear()
  }

  #lookup({ node, name, own }: FuseRequest, reply: FuseReply): void {
    const path = this.#childPath(node, name)
    const announced = own ? this.#announcements?.at(path.slice(this.#root.length)) : undefined
    const found = announced === undefined ? this.#find(path) : announced.kind === 'removed' ? announced.node : undefined
    if (found === undefined) return reply.error('ENOENT')
    reply.entry(this.#attributes(this.#inodes.tell(path, found), found))
  }

  #setattr({ node, valid, mode, newUid, newGid }: FuseRequest, reply: FuseReply): void {
    const before = this.#node(node)
    const path = this.#path(node)
    if ((valid & FATTR_MODE) !== 0) this.#tree(path).chmod(path, mode)
    if ((valid & (FATTR_UID | FATTR_GID)) !== 0) {
      const uid = (valid & FATTR_UID) === 0 ? before.uid : newUid
      this.#tree(path).chown(path, uid, (valid & FATTR_GID) === 0 ? before.gid : newGid)
    }
    // Lengths and times are as they are, and nobody is told otherwise.
    reply.attributes(this.#attributes(node, this.#node(node)))
  }

  #open(request: FuseRequest, reply: FuseReply): void {
    this.#node(request.node)
    const path = this.#path(request.node)
    const opened = this.#tree(path).open(path, request)
    reply.opened(this.#hold(opened), opened.flags ?? FOPEN_DIRECT_IO, opened.backing ?? 0)
  }

  #use(op: 'read' | 'write' | 'ioctl' | 'poll', request: FuseRequest, reply: FuseReply): void {
    const handle = this.#handles.get(request.fh ?? 0)
    if (handle === undefined || 'entries' in handle) return reply.error('EBADF')
    if (handle[op] === undefined) {
      if (op === 'poll') return reply.polled(READY)
      return reply.error(op === 'ioctl' ? 'ENOTTY' : 'EINVAL')
    }
    this.#waiting.set(request.token, handle)
    const answered = () => void this.#waiting.delete(request.token)
    try {
      handle[op](request, reply.onAnswer(answered))
    } catch (error) {
      answered()
      throw error
    }
  }

  #readdir(request: FuseRequest, reply: FuseReply): void {
    const handle = this.#handles.get(request.fh ?? 0)
    if (handle === undefined || !('entries' in handle)) return reply.error('EBADF')
    if (request.offset === 0) handle.entries = this.#list(request.node)
    reply.listed(handle.entries)
  }

  #release({ fh = 0 }: FuseRequest, reply: FuseReply): void {
    const handle = this.#handles.get(fh)
    this.#handles.delete(fh)
    reply.done()
    if (handle !== undefined && 'release' in handle) handle.release?.()
  }

  #announceMade({ node, name, own, op }: FuseRequest, reply: FuseReply): void {
    const path = this.#childPath(node, name)
    const made = own ? this.#announcements?.carryOut('added', path.slice(this.#root.length)) : undefined
    if (made === undefined) return reply.error(op === 'mknod' ? 'EACCES' : 'EPERM')
    reply.entry(this.#attributes(this.#inodes.tell(path, made), made))
  }

  #announceGone({ node, name, own }: FuseRequest, reply: FuseReply): void {
    const path = this.#childPath(node, name).slice(this.#root.length)
    const gone = own ? this.#announcements?.carryOut('removed', path) : undefined
    if (gone === undefined) return reply.error('EPERM')
    reply.done()
  }

  #list(number: number): FuseListed[] {
    const path = this.#path(number)
    this.#node(number)
    const names = path === '' ? [...this.#trees.keys()].sort() : this.#tree(path).names(path)
    const entries = names.flatMap((name) => {
      const node = this.#find(`${path}/${name}`)
      return node === undefined ? [] : [{ name, node: this.#inodes.number(node), mode: node.mode }]
    })
    const directory = { node: number, mode: S_IFDIR }
    return [{ name: '.', ...directory }, { name: '..', ...directory }, ...entries]
  }

  #hold(handle: Handle): number {
    this.#handles.set(++this.#lastHandle, handle)
    return this.#lastHandle
  }

  #attributes(number: number, { mode, size, uid, gid }: ShownNode): FuseAttributes {
    return { node: number, mode, size, uid, gid, mtime: this.#began, nlink: (mode & S_IFDIR) === 0 ? 1 : 2 }
  }

  /** The node that the kernel means by a number. @throws {VfioError} ENOENT it has gone */
  #node(number: number): ShownNode {
    const path = this.#path(number)
    const node = this.#find(path)
    const same = number === ROOT || node?.identity === this.#inodes.get(number)?.identity
    if (node === undefined || !same) throw new VfioError('ENOENT', 'stat', { path })
    return node
  }

  #path(number: number): string {
    if (number === ROOT) return this.#root
    return this.#inodes.get(number)?.path ?? refuse('ENOENT', 'stat')
  }

  #childPath(parent: number, name: string): string {
    return `${this.#path(parent)}/${name}`
  }

  #find(path: string): ShownNode | undefined {
    if (path === '') return { identity: this, mode: S_IFDIR | 0o755, size: 0, uid: 0, gid: 0 }
    return this.#trees.get(path.split('/', 2)[1] ?? '')?.node(path)
  }

  #tree(path: string): ShownTree {
    return this.#trees.get(path.split('/', 2)[1] ?? '') ?? refuse('EPERM', 'open')
  }
}

function refuse(code: 'EINVAL' | 'ENOENT' | 'EPERM', syscall: string): never {
  throw new VfioError(code, syscall)
}
