/** A machine whose `sys` is a folder: mounted by `vfio host --mount`, or this computer's own. */
import { readdir, readFile, realpath, writeFile } from 'node:fs/promises'
import { resolve, sep } from 'node:path'
import type { MachineTree } from './tree.ts'

/** The machine under a root folder. */
export class FolderTree implements MachineTree {
  readonly place: string
  readonly #root: string

  constructor(root: string) {
    this.place = root
    this.#root = resolve(root)
  }

  async list(path: string): Promise<string[]> {
    return (await readdir(this.#at(path))).sort()
  }

  read(path: string): Promise<string> {
    return readFile(this.#at(path), 'utf8')
  }

  write(path: string, text: string): Promise<void> {
    return writeFile(this.#at(path), text)
  }

  async realpath(path: string): Promise<string> {
    const root = await realpath(this.#root)
    const found = await realpath(this.#at(path))
    return found.startsWith(root) ? found.slice(root === sep ? 0 : root.length) || '/' : found
  }

  #at(path: string): string {
    return this.#root === sep ? path : this.#root + path
  }
}
