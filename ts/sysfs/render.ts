/** Draws part of a sysfs tree as text for people. */
import type { SysfsNode } from './node.ts'
import { relativePath, splitPath } from './path.ts'

/** What a drawing of the tree shows. */
export interface RenderOptions {
  /** Levels below the root of the drawing; default 16. */
  depth?: number
  /** Show one-line attribute texts behind their names; default true. */
  values?: boolean
}

/** What the drawing needs of a tree. */
export interface RenderSource {
  list(path: string): string[]
  node(path: string): SysfsNode
  resolve(path: string): string
  read(path: string): string
}

/** Draws `path` and what is under it; links show their target and are not entered. @throws {VfioError} ENOENT, ENOTDIR */
export function renderTree(tree: RenderSource, path: string, options: RenderOptions): string {
  const { depth = 16, values = true } = options
  const root = tree.resolve(path)
  const lines = [path]
  const draw = (directory: string, indent: string, left: number): void => {
    const names = tree.list(directory)
    for (const [i, name] of names.entries()) {
      const last = i === names.length - 1
      const child = `${directory === '/' ? '' : directory}/${name}`
      const node = tree.node(child)
      lines.push(`${indent}${last ? '└── ' : '├── '}${name}${suffix(tree, child, node, values)}`)
      if (node.kind === 'directory' && left > 1) draw(child, indent + (last ? '    ' : '│   '), left - 1)
    }
  }
  draw(root, '', depth)
  return `${lines.join('\n')}\n`
}

function suffix(tree: RenderSource, path: string, node: SysfsNode, values: boolean): string {
  if (node.kind === 'link') return ` -> ${relativePath(splitPath(path).slice(0, -1), splitPath(node.target))}`
  if (node.kind !== 'attribute' || !values || (node.mode & 0o444) === 0) return ''
  try {
    const text = tree.read(path).trimEnd()
    return text === '' || text.includes('\n') || text.length > 60 ? '' : `: ${text}`
  } catch {
    return ''
  }
}
