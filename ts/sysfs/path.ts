/** Paths of a sysfs tree: absolute, with `/` between names. */
import { text } from '../shape.ts'

/** Splits an absolute path into its names; empty names and `.` fall away. @throws {TypeError} no string */
export function splitPath(path: string): string[] {
  return text(path, 'path')
    .split('/')
    .filter((name) => name !== '' && name !== '.')
}

/** Writes names as an absolute path. */
export function joinPath(names: readonly string[]): string {
  return `/${names.join('/')}`
}

/** The last name of a path. */
export function baseName(path: string): string {
  return splitPath(path).at(-1) ?? ''
}

/** The path from one directory to another node, as the kernel writes the targets of sysfs links. */
export function relativePath(fromDirectory: readonly string[], to: readonly string[]): string {
  let shared = 0
  while (shared < fromDirectory.length && shared < to.length && fromDirectory[shared] === to[shared]) shared++
  const names = [...fromDirectory.slice(shared).map(() => '..'), ...to.slice(shared)]
  return names.length === 0 ? '.' : names.join('/')
}
