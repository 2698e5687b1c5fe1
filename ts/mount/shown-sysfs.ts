/** A sysfs tree as others see it. */
import { isErrno, VfioError } from '../errors.ts'
import type { FuseReply, FuseRequest } from '../fuse/request.ts'
import type { SysfsNode } from '../sysfs/node.ts'
import { relativePath, splitPath } from '../sysfs/path.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import {
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  type OpenedNode,
  type ShownChange,
  type ShownNode,
  type ShownTree,
} from './shown.ts'

/** A page: sizes of texts are said to be that, whatever they are. */
const PAGE = 4096
const O_ACCMODE = 3
const O_WRONLY = 1
const O_RDWR = 2

/** Shows a sysfs tree, with sysfs's manners. */
export class ShownSysfs implements ShownTree {
  readonly #tree: SysfsTree
  /** Owners that were set; root's are the others. */
  readonly #owners = new WeakMap<SysfsNode, { uid: number; gid: number }>()
  readonly #listeners = new Set<(change: ShownChange) => void>()

  constructor(tree: SysfsTree) {
    this.#tree = tree
  }

  node(path: string): ShownNode | undefined {
    const found = this.#find(path)
    return found && this.#show(path, found)
  }

  names(path: string): string[] {
    return this.#tree.list(path)
  }

  open(path: string, { flags }: FuseRequest): OpenedNode {
    const node = this.#tree.node(path)
    if (node.kind === 'directory' || node.kind === 'link') throw new VfioError('EINVAL', 'open', { path })
    // Root may do what no mode forbids to everybody (`kernfs_fop_open`).
    const access = flags & O_ACCMODE
    const reads = access !== O_WRONLY
    const writes = access === O_WRONLY || access === O_RDWR
    if ((reads && (node.mode & 0o444) === 0) || (writes && (node.mode & 0o222) === 0)) {
      throw new VfioError('EACCES', 'open', { path })
    }
    const held = () => {
      if (this.#find(path) !== node) throw new VfioError('ENODEV', 'read', { path, reason: 'it has gone' })
    }
    return node.kind === 'binary' ? openBinary(this.#tree, path, held) : openText(this.#tree, path, held)
  }

  chmod(path: string, mode: number): void {
    const node = this.#tree.node(path)
    if (node.kind !== 'attribute' && node.kind !== 'binary') throw new VfioError('EPERM', 'chmod', { path })
    node.mode = mode & 0o7777
  }

  chown(path: string, uid: number, gid: number): void {
    this.#owners.set(this.#tree.node(path), { uid, gid })
  }

  watch(listener: (change: ShownChange) => void): () => void {
    const unwatch = this.#tree.watch(({ kind, path, node }) => listener({ kind, path, node: this.#show(path, node) }))
    this.#listeners.add(listener)
    return () => {
      unwatch()
      this.#listeners.delete(listener)
    }
  }

  /** Tells that an attribute has another text, as if somebody had written it; nothing there: nothing happens. */
  wrote(path: string): void {
    const node = this.node(path)
    if (node !== undefined) for (const listener of this.#listeners) listener({ kind: 'written', path, node })
  }

  #find(path: string): SysfsNode | undefined {
    try {
      return this.#tree.node(path)
    } catch {
      return undefined
    }
  }

  #show(path: string, node: SysfsNode): ShownNode {
    const owner = this.#owners.get(node) ?? { uid: 0, gid: 0 }
    switch (node.kind) {
      case 'directory':
        return { identity: node, mode: S_IFDIR | 0o755, size: 0, ...owner }
      case 'link': {
        const target = relativePath(splitPath(path).slice(0, -1), splitPath(node.target))
        return { identity: node, mode: S_IFLNK | 0o777, size: target.length, target, ...owner }
      }
      case 'attribute':
        return { identity: node, mode: S_IFREG | node.mode, size: PAGE, ...owner }
      case 'binary':
        return { identity: node, mode: S_IFREG | node.mode, size: node.size, ...owner }
    }
  }
}

/** A text is made when reading begins, and stays until reading begins anew; every write is one store. */
function openText(tree: SysfsTree, path: string, held: () => void): OpenedNode {
  let text: Uint8Array | undefined
  /** Writers that sleep; those who have lost patience are answered already. */
  const sleeping = new Map<number, FuseReply>()
  return {
    read: (request, reply) => {
      held()
      if (request.offset === 0 || text === undefined) text = tree.readBytes(path)
      reply.data(text.subarray(request.offset, request.offset + request.size))
    },
    write: (request, reply) => {
      held()
      const { taken, sleeps } = tree.store(path, request.data)
      if (sleeps === undefined) return reply.written(taken)
      sleeping.set(request.token, reply)
      const wake = (answer: () => void) => {
        if (sleeping.delete(request.token)) answer()
      }
      sleeps.then(
        () => wake(() => reply.written(taken)),
        (error: unknown) => wake(() => reply.error(isErrno(error) ? error.code : 'EIO')),
      )
    },
    // What was begun goes on.
    interrupt: (token) => {
      const reply = sleeping.get(token)
      sleeping.delete(token)
      reply?.error('EINTR')
    },
  }
}

function openBinary(tree: SysfsTree, path: string, held: () => void): OpenedNode {
  return {
    read: (request, reply) => {
      held()
      reply.data(tree.readBytes(path, request.offset, request.size))
    },
    write: (request, reply) => {
      held()
      reply.written(tree.write(path, request.data, request.offset))
    },
  }
}
