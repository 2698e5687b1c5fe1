/**
 * The `/dev` of a simulated machine: device nodes with owners and modes, and what opening one gives.
 */
import { EventEmitter } from 'node:events'
import { VfioError } from '../errors.ts'
import type { Caller, OpenFile } from '../files/open-file.ts'
import { record, text, u32 } from '../shape.ts'
import { baseName, joinPath, splitPath } from '../sysfs/path.ts'

/** A device node. */
export interface DevNode {
  /** Permission bits, such as 0o600. */
  mode: number
  uid: number
  gid: number
  /** Opens the device behind the node. @throws {VfioError} */
  open(caller: Caller): OpenFile
}

/** Who opens a node. */
export interface NodeUser {
  readonly uid: number
  readonly gid: number
  /** Tells whether the user has a capability such as `'CAP_DAC_OVERRIDE'`. */
  capable(capability: string): boolean
}

/** What `stat` tells of a node or directory. */
export interface DevStat {
  /** File type and permission bits, such as 0o20600. */
  mode: number
  uid: number
  gid: number
}

/** Nodes appear and disappear, as udev would tell. */
export interface DevEvents {
  add: [path: string]
  remove: [path: string]
}

const S_IFCHR = 0o020000
const S_IFDIR = 0o040000

/** Device nodes by path. */
export class DevTree extends EventEmitter<DevEvents> {
  readonly #nodes = new Map<string, DevNode>()

  /** Makes a node that belongs to root. @throws {VfioError} EEXIST */
  add(path: string, node: Pick<DevNode, 'mode' | 'open'>): void {
    const at = normal(path)
    if (this.#nodes.has(at)) throw new VfioError('EEXIST', 'mknod', { path })
    this.#nodes.set(at, { ...node, uid: 0, gid: 0 })
    this.emit('add', at)
  }

  /** Takes a node away; files that are open stay open. */
  remove(path: string): void {
    const at = normal(path)
    if (this.#nodes.delete(at)) this.emit('remove', at)
  }

  /**
   * The node at a path, whoever may open it.
   * @internal
   */
  node(path: string): DevNode | undefined {
    return this.#nodes.get(normal(path))
  }

  /** Names in a directory, sorted. @throws {VfioError} ENOENT, ENOTDIR */
  list(path: string): string[] {
    const at = normal(path)
    if (this.#nodes.has(at)) throw new VfioError('ENOTDIR', 'readdir', { path })
    const depth = splitPath(at).length
    const prefix = at === '/' ? '/' : `${at}/`
    const names = [...this.#nodes.keys()]
      .filter((known) => known.startsWith(prefix))
      .map((known) => splitPath(known)[depth] as string)
    if (names.length === 0 && at !== '/dev' && at !== '/') throw new VfioError('ENOENT', 'readdir', { path })
    return [...new Set(names)].sort()
  }

  /** Tells whether there is a node or directory. */
  exists(path: string): boolean {
    const at = normal(path)
    return this.#nodes.has(at) || this.#isDirectory(at)
  }

  /** Mode and owner. @throws {VfioError} ENOENT */
  stat(path: string): DevStat {
    const at = normal(path)
    const node = this.#nodes.get(at)
    if (node) return { mode: S_IFCHR | node.mode, uid: node.uid, gid: node.gid }
    if (!this.#isDirectory(at)) throw new VfioError('ENOENT', 'stat', { path })
    return { mode: S_IFDIR | 0o755, uid: 0, gid: 0 }
  }

  /** Changes the permission bits of a node. @throws {VfioError} ENOENT */
  chmod(path: string, mode: number): void {
    this.#node(path, 'chmod').mode = u32(mode, 'mode') & 0o7777
  }

  /** Changes the owner of a node. @throws {VfioError} ENOENT */
  chown(path: string, uid: number, gid: number): void {
    Object.assign(this.#node(path, 'chown'), { uid: u32(uid, 'uid'), gid: u32(gid, 'gid') })
  }

  /**
   * The node at a path, for a user who may open it so.
   * @throws {VfioError} ENOENT no such node, EISDIR a directory, ENOTDIR, EACCES the mode forbids it
   */
  lookup(path: string, user: NodeUser, access: { read: boolean; write: boolean }): DevNode {
    record(user, 'user')
    record(access, 'access')
    const at = normal(path)
    const node = this.#nodes.get(at)
    if (!node) {
      if (this.#isDirectory(at)) throw new VfioError('EISDIR', 'open', { path })
      throw new VfioError(this.#nodes.has(parent(at)) ? 'ENOTDIR' : 'ENOENT', 'open', { path, ...this.#hint(at) })
    }
    const wanted = (access.read ? 4 : 0) | (access.write ? 2 : 0)
    const shift = user.uid === node.uid ? 6 : user.gid === node.gid ? 3 : 0
    if (((node.mode >> shift) & wanted) === wanted || user.capable('CAP_DAC_OVERRIDE')) return node
    throw new VfioError('EACCES', 'open', { path, remedy: `chown or chmod ${path} for user ${user.uid}` })
  }

  #node(path: string, syscall: string): DevNode {
    const node = this.#nodes.get(normal(path))
    if (!node) throw new VfioError('ENOENT', syscall, { path })
    return node
  }

  #isDirectory(at: string): boolean {
    const prefix = at === '/' ? '/' : `${at}/`
    return at === '/' || at === '/dev' || [...this.#nodes.keys()].some((known) => known.startsWith(prefix))
  }

  /** What to do when a group's node is missing. */
  #hint(at: string): { remedy?: string } {
    if (parent(at) !== '/dev/vfio' || !/^[0-9]+$/.test(baseName(at))) return {}
    return { remedy: `bind a device of group ${baseName(at)} to a VFIO driver` }
  }
}

function normal(path: string): string {
  return joinPath(splitPath(text(path, 'path')))
}

function parent(path: string): string {
  return joinPath(splitPath(path).slice(0, -1))
}
