/** The `sys` tree of a machine, wherever the machine is: in this process, in a host's, mounted, or this computer. */

/** What a shell could do there. Paths are absolute, such as `/sys/bus/mdev/devices`; refusals carry an errno's name as `code`. */
export interface MachineTree {
  /** Where the machine is, for messages. */
  readonly place: string
  /** Names in a directory, sorted. */
  list(path: string): Promise<string[]>
  /** Text of an attribute. */
  read(path: string): Promise<string>
  /** Writes to an attribute in one go. */
  write(path: string, text: string): Promise<void>
  /** The path without links. */
  realpath(path: string): Promise<string>
}

/** Names in a directory; none where it is not there. */
export async function listOrNone(tree: MachineTree, path: string): Promise<string[]> {
  return orNone(tree.list(path), [])
}

/** Text of an attribute; nothing where it is not there. */
export async function readOrNone(tree: MachineTree, path: string): Promise<string | undefined> {
  return orNone(tree.read(path), undefined)
}

/** The path without links; nothing where it leads nowhere. */
export async function realpathOrNone(tree: MachineTree, path: string): Promise<string | undefined> {
  return orNone(tree.realpath(path), undefined)
}

async function orNone<T, N>(asked: Promise<T>, none: N): Promise<T | N> {
  try {
    return await asked
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'ENOENT' || code === 'ENOTDIR') return none
    throw error
  }
}
