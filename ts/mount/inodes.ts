/** Numbers of nodes, and which of them the kernel knows. */
import type { ShownNode } from './shown.ts'

/** A node that the kernel knows. */
export interface Inode {
  readonly path: string
  readonly identity: object
  lookups: number
}

/** Number of the root. */
export const ROOT = 1

/** A node has its number for as long as it is the same; its path is kept until the kernel forgets it. */
export class Inodes {
  readonly #numbers = new WeakMap<object, number>()
  readonly #known = new Map<number, Inode>()
  #last = ROOT

  /** How many nodes the kernel knows. */
  get size(): number {
    return this.#known.size
  }

  /** The number of a node. */
  number({ identity }: ShownNode): number {
    let number = this.#numbers.get(identity)
    if (number === undefined) this.#numbers.set(identity, (number = ++this.#last))
    return number
  }

  /** Notes that the kernel is told of a node, and returns its number. */
  tell(path: string, node: ShownNode): number {
    const number = this.number(node)
    const known = this.#known.get(number)
    if (known === undefined) this.#known.set(number, { path, identity: node.identity, lookups: 1 })
    else known.lookups++
    return number
  }

  /** The node of a number that the kernel knows. */
  get(number: number): Inode | undefined {
    return this.#known.get(number)
  }

  /** The kernel forgets a node as often as it was told. */
  forget(number: number, lookups: number): void {
    const known = this.#known.get(number)
    if (known !== undefined && (known.lookups -= lookups) <= 0) this.#known.delete(number)
  }
}
