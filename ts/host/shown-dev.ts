/** The device nodes of a machine as others see them. */
import { VfioError } from '../errors.ts'
import type { FuseRequest } from '../fuse/request.ts'
import { S_IFMT, S_IFREG, type OpenedNode, type ShownChange, type ShownNode, type ShownTree } from '../mount/shown.ts'
import { joinPath, splitPath } from '../sysfs/path.ts'
import type { DevNode, DevTree } from './dev-tree.ts'

/** Opens a node for a program outside of the machine. @throws {VfioError} */
export type NodeOpener = (node: DevNode, path: string, request: FuseRequest) => OpenedNode

/**
 * Shows a tree of device nodes. The operating system opens character devices itself and would never ask, so nodes that can be
 * opened are regular files.
 */
export class ShownDev implements ShownTree {
  readonly #tree: DevTree
  readonly #open: NodeOpener | undefined
  /** Directories are not objects of the tree. */
  readonly #directories = new Map<string, object>()

  /** Without `open`, nodes are character devices without a driver. */
  constructor(tree: DevTree, open?: NodeOpener) {
    this.#tree = tree
    this.#open = open
  }

  node(path: string): ShownNode | undefined {
    if (!this.#tree.exists(path)) return undefined
    const { mode, uid, gid } = this.#tree.stat(path)
    const node = this.#tree.node(path)
    if (node === undefined) return { identity: this.#directory(path), mode, size: 0, uid, gid }
    const shown = this.#open === undefined ? mode : S_IFREG | (mode & ~S_IFMT)
    return { identity: node, mode: shown, size: 0, uid, gid }
  }

  names(path: string): string[] {
    return this.#tree.list(path)
  }

  open(path: string, request: FuseRequest): OpenedNode {
    const node = this.#tree.node(path)
    if (node === undefined || this.#open === undefined) throw new VfioError('ENXIO', 'open', { path })
    return this.#open(node, path, request)
  }

  chmod(path: string, mode: number): void {
    this.#tree.chmod(path, mode)
  }

  chown(path: string, uid: number, gid: number): void {
    this.#tree.chown(path, uid, gid)
  }

  watch(listener: (change: ShownChange) => void): () => void {
    // The tree tells of nodes only, after they have gone.
    const shown = new Map<string, ShownNode>()
    const show = (path: string, told: boolean): void => {
      const node = shown.has(path) ? undefined : this.node(path)
      if (node === undefined) return
      shown.set(path, node)
      if (told) listener({ kind: 'added', path, node })
    }
    const hide = (path: string): void => {
      const node = shown.get(path)
      shown.delete(path)
      if (node !== undefined) listener({ kind: 'removed', path, node })
    }
    const added = (path: string): void => {
      for (const at of [...above(path), path]) show(at, true)
    }
    const removed = (path: string): void => {
      hide(path)
      for (const directory of above(path).reverse()) if (!this.#tree.exists(directory)) hide(directory)
    }
    const all = (path: string): void => {
      show(path, false)
      if (this.#tree.node(path) === undefined) for (const name of this.names(path)) all(`${path}/${name}`)
    }
    all('/dev')
    this.#tree.on('add', added)
    this.#tree.on('remove', removed)
    return () => {
      this.#tree.off('add', added)
      this.#tree.off('remove', removed)
    }
  }

  #directory(path: string): object {
    let directory = this.#directories.get(path)
    if (directory === undefined) this.#directories.set(path, (directory = { path }))
    return directory
  }
}

/** The directories that a path lies in, from the top. */
function above(path: string): string[] {
  const names = splitPath(path)
  return names.slice(0, -1).map((_, i) => joinPath(names.slice(0, i + 1)))
}
