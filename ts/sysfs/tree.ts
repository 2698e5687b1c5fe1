/**
 * A sysfs tree: directories, attributes and links that a simulated machine shows, and text in and out of them.
 *
 * Builders (`dir`, `attr`, `binary`, `link`, `remove`) belong to the parts of the machine; `list`, `read`, `write`,
 * `readlink` and the rest are what a shell on that machine would do, errno included.
 */
import { invalidArgType, VfioError } from '../errors.ts'
import { bytes as toBytes, record, u32 } from '../shape.ts'
import type { ErrnoName } from '../uapi/errno.ts'
import type { SysfsAttribute, SysfsBinary, SysfsDirectory, SysfsNode } from './node.ts'
import { joinPath, relativePath, splitPath } from './path.ts'
import { renderTree, type RenderOptions } from './render.ts'

/** What `stat` tells of a node. */
export interface SysfsStat {
  /** File type and permission bits, such as 0o100644. */
  mode: number
  /** Size in bytes; 4096 for text, whatever it will be. */
  size: number
}

/** What a write came to. */
export interface SysfsStored {
  /** Bytes taken. */
  taken: number
  /** Fulfilled when the kernel's writer would go on; absent: at once. */
  sleeps?: Promise<void>
}

/** A page: the longest text that one read or write of an attribute carries. */
const PAGE = 4096
/** As many links as the kernel follows within one path. */
const MAX_LINKS = 40

const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000
const READABLE = 0o444
const WRITABLE = 0o222

/** A node and the real path that leads to it. */
interface Found {
  node: SysfsNode
  names: string[]
}

/** Something that has appeared in a tree or gone from it, with all that is under it. */
export interface SysfsChange {
  kind: 'added' | 'removed'
  /** Path without links. */
  path: string
  node: SysfsNode
}

/** A tree of the kernel's objects as files. */
export class SysfsTree {
  readonly #root: SysfsDirectory = directory()
  readonly #watchers = new Set<(change: SysfsChange) => void>()

  /**
   * Tells of every node that appears or goes, right after it has, until the returned function is called. Of a directory that goes
   * only itself is told; an attribute that takes another's place is no change.
   */
  watch(listener: (change: SysfsChange) => void): () => void {
    if (typeof listener !== 'function') throw invalidArgType('listener', 'a function', listener)
    this.#watchers.add(listener)
    return () => void this.#watchers.delete(listener)
  }

  /** Makes a directory, and those above it where they are missing. @throws {VfioError} ENOTDIR */
  dir(path: string): void {
    this.#directoryAt(splitPath(path), 'mkdir', path)
  }

  /** Puts a text attribute at `path`. @throws {VfioError} ENOTDIR, EISDIR a directory is there */
  attr(path: string, attribute: Omit<SysfsAttribute, 'kind'>): void {
    this.#place(path, { kind: 'attribute', ...record(attribute, 'attribute') })
  }

  /** Puts an attribute of bytes at `path`. @throws {VfioError} ENOTDIR, EISDIR a directory is there */
  binary(path: string, attribute: Omit<SysfsBinary, 'kind'>): void {
    this.#place(path, { kind: 'binary', ...record(attribute, 'attribute') })
  }

  /** Puts a link at `path`; `target` is an absolute path, which need not exist. @throws {VfioError} ENOTDIR, EISDIR */
  link(path: string, target: string): void {
    this.#place(path, { kind: 'link', target: joinPath(splitPath(target)) })
  }

  /** Takes a node and what is under it away; a link goes, not what it leads to. Nothing there: nothing happens. */
  remove(path: string): void {
    const names = splitPath(path)
    const name = names.pop()
    if (name === undefined) return
    let at: SysfsNode | undefined = this.#root
    for (const step of names) at = at?.kind === 'directory' ? at.entries.get(step) : undefined
    const gone = at?.kind === 'directory' ? at.entries.get(name) : undefined
    if (at?.kind !== 'directory' || gone === undefined) return
    at.entries.delete(name)
    this.#tell('removed', [...names, name], gone)
  }

  /** Names in a directory, sorted. @throws {VfioError} ENOENT, ENOTDIR, ELOOP */
  list(path: string): string[] {
    const { node } = this.#find(path, 'readdir')
    if (node.kind !== 'directory') throw refuse('ENOTDIR', 'readdir', path)
    return [...node.entries.keys()].sort()
  }

  /** Text of an attribute (bytes as Latin-1 where it is binary). @throws {VfioError} ENOENT, EISDIR, EACCES, EIO, and the attribute's own */
  read(path: string): string {
    const { node } = this.#find(path, 'read')
    if (node.kind === 'binary') return Buffer.from(this.#readBinary(node, path, 0, node.size)).toString('latin1')
    const text = showing(node, path)()
    return text.length > PAGE ? text.slice(0, PAGE) : text
  }

  /** Bytes of an attribute from `offset` on. @throws {VfioError} as {@link read} */
  readBytes(path: string, offset = 0, length = PAGE): Uint8Array {
    u32(offset, 'offset')
    u32(length, 'length')
    const { node } = this.#find(path, 'read')
    if (node.kind === 'binary') return this.#readBinary(node, path, offset, length)
    return new TextEncoder()
      .encode(showing(node, path)())
      .subarray(0, PAGE)
      .slice(offset, offset + length)
  }

  /**
   * Writes to an attribute in one go, as `echo -n` does, and returns the bytes taken (a page at most).
   * @throws {VfioError} ENOENT, EISDIR, EACCES, EIO, and the attribute's own
   */
  write(path: string, data: string | Uint8Array, offset = 0): number {
    u32(offset, 'offset')
    return this.store(path, data, offset).taken
  }

  /**
   * Writes as {@link write}, and says until when the kernel's writer would sleep.
   * @throws {VfioError} as {@link write}
   */
  store(path: string, data: string | Uint8Array, offset = 0): SysfsStored {
    const { node } = this.#find(path, 'write')
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : toBytes(data, 'data')
    if (node.kind === 'binary') {
      checkMode(node.mode, WRITABLE, 'write', path)
      if (!node.write) throw refuse('EIO', 'write', path)
      return { taken: node.write(offset, bytes) }
    }
    const store = storing(node, path)
    if (bytes.length === 0) return { taken: 0 }
    const taken = bytes.length > PAGE ? bytes.subarray(0, PAGE) : bytes
    const sleeps = store(new TextDecoder('utf-8', { ignoreBOM: true }).decode(taken))
    if (!(sleeps instanceof Promise)) return { taken: taken.length }
    // Whoever does not wait has had his answer.
    sleeps.catch(() => {})
    return { taken: taken.length, sleeps }
  }

  /** Target of a link, relative to the directory it really lies in. @throws {VfioError} ENOENT, EINVAL no link, ELOOP */
  readlink(path: string): string {
    const { node, names } = this.#find(path, 'readlink', false)
    if (node.kind !== 'link') throw refuse('EINVAL', 'readlink', path)
    return relativePath(names.slice(0, -1), splitPath(node.target))
  }

  /** The path without links. @throws {VfioError} ENOENT, ENOTDIR, ELOOP */
  resolve(path: string): string {
    return joinPath(this.#find(path, 'realpath').names)
  }

  /** Tells whether the path leads to something. */
  exists(path: string): boolean {
    try {
      this.#find(path, 'access')
      return true
    } catch {
      return false
    }
  }

  /** Mode and size of what the path leads to. @throws {VfioError} ENOENT, ENOTDIR, ELOOP */
  stat(path: string): SysfsStat {
    return statOf(this.#find(path, 'stat').node)
  }

  /** Mode and size of the node itself, a link included. @throws {VfioError} ENOENT, ENOTDIR, ELOOP */
  lstat(path: string): SysfsStat {
    return statOf(this.#find(path, 'lstat', false).node)
  }

  /** The node itself, a link included. @throws {VfioError} ENOENT, ENOTDIR, ELOOP */
  node(path: string): SysfsNode {
    return this.#find(path, 'stat', false).node
  }

  /** Draws a part of the tree for people, as `tree` does, with short attribute texts behind their names. */
  render(path: string, options: RenderOptions = {}): string {
    record(options, 'options')
    return renderTree(this, path, options)
  }

  #readBinary(node: SysfsBinary, path: string, offset: number, length: number): Uint8Array {
    checkMode(node.mode, READABLE, 'read', path)
    if (!node.read) throw refuse('EIO', 'read', path)
    const room = Math.max(0, Math.min(length, node.size - offset))
    const into = new Uint8Array(room)
    return into.subarray(0, node.read(offset, into))
  }

  #place(path: string, node: SysfsNode): void {
    const names = splitPath(path)
    const name = names.pop()
    if (name === undefined) throw refuse('EISDIR', 'create', path)
    const parent = this.#directoryAt(names, 'create', path)
    const before = parent.node.entries.get(name)
    if (before?.kind === 'directory') throw refuse('EISDIR', 'create', path)
    parent.node.entries.set(name, node)
    const at = [...parent.names, name]
    if (before !== undefined && before.kind === node.kind && node.kind !== 'link') return
    if (before !== undefined) this.#tell('removed', at, before)
    this.#tell('added', at, node)
  }

  #tell(kind: SysfsChange['kind'], names: readonly string[], node: SysfsNode): void {
    if (this.#watchers.size === 0) return
    const change = { kind, path: joinPath(names), node }
    for (const watcher of this.#watchers) watcher(change)
  }

  #directoryAt(names: readonly string[], syscall: string, path: string): { node: SysfsDirectory; names: string[] } {
    let at = { node: this.#root, names: [] as string[] }
    for (const name of names) {
      const child = at.node.entries.get(name)
      const made = child === undefined ? directory() : undefined
      const here: Found =
        child?.kind === 'link'
          ? this.#find(child.target, syscall)
          : { node: child ?? (made as SysfsDirectory), names: [...at.names, name] }
      if (here.node.kind !== 'directory') throw refuse('ENOTDIR', syscall, path)
      if (made !== undefined) {
        at.node.entries.set(name, made)
        this.#tell('added', here.names, made)
      }
      at = { node: here.node, names: here.names }
    }
    return at
  }

  #find(path: string, syscall: string, followLast = true): Found {
    let links = 0
    let todo = splitPath(path)
    const names: string[] = []
    const chain: SysfsNode[] = [this.#root]
    while (todo.length > 0) {
      const [name, ...rest] = todo as [string, ...string[]]
      todo = rest
      const here = chain.at(-1)
      if (here?.kind !== 'directory') throw refuse('ENOTDIR', syscall, path)
      if (name === '..') {
        names.pop()
        if (chain.length > 1) chain.pop()
        continue
      }
      const next = here.entries.get(name)
      if (next === undefined) throw refuse('ENOENT', syscall, path)
      if (next.kind === 'link' && (followLast || todo.length > 0 || path.endsWith('/'))) {
        if (++links > MAX_LINKS) throw refuse('ELOOP', syscall, path)
        todo = [...splitPath(next.target), ...todo]
        names.length = 0
        chain.length = 1
        continue
      }
      names.push(name)
      chain.push(next)
    }
    const node = chain.at(-1) as SysfsNode
    if (path.endsWith('/') && node.kind !== 'directory') throw refuse('ENOTDIR', syscall, path)
    return { node, names }
  }
}

function directory(): SysfsDirectory {
  return { kind: 'directory', entries: new Map() }
}

function showing(node: SysfsNode, path: string): () => string {
  if (node.kind !== 'attribute') throw refuse(node.kind === 'directory' ? 'EISDIR' : 'EINVAL', 'read', path)
  checkMode(node.mode, READABLE, 'read', path)
  if (!node.show) throw refuse('EIO', 'read', path)
  return node.show
}

function storing(node: SysfsNode, path: string): NonNullable<SysfsAttribute['store']> {
  if (node.kind !== 'attribute') throw refuse(node.kind === 'directory' ? 'EISDIR' : 'EINVAL', 'write', path)
  checkMode(node.mode, WRITABLE, 'write', path)
  if (!node.store) throw refuse('EIO', 'write', path)
  return node.store
}

function checkMode(mode: number, needed: number, syscall: string, path: string): void {
  if ((mode & needed) === 0) throw refuse('EACCES', syscall, path)
}

function statOf(node: SysfsNode): SysfsStat {
  switch (node.kind) {
    case 'directory':
      return { mode: S_IFDIR | 0o755, size: 0 }
    case 'link':
      return { mode: S_IFLNK | 0o777, size: 0 }
    case 'attribute':
      return { mode: S_IFREG | node.mode, size: PAGE }
    case 'binary':
      return { mode: S_IFREG | node.mode, size: node.size }
  }
}

function refuse(code: ErrnoName, syscall: string, path: string): VfioError {
  return new VfioError(code, syscall, { path })
}
