/**
 * What has appeared or gone, on its way to those who watch.
 *
 * Changes of one turn go out together: of a new directory only itself is told, for nobody can watch inside of it yet. The
 * session carries each out through the mount (see {@link FuseSession.announce}), and asks the file system about it meanwhile.
 */
import type { FuseChange } from '../fuse/session.ts'
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, type ShownChange, type ShownNode } from './shown.ts'

/** Queues changes and knows those under way. */
export class Announcements {
  readonly #announce: (change: FuseChange, path: string) => void
  readonly #batch: ShownChange[] = []
  /** Given to the session, oldest first. It may fail to carry one out: then it never asks. */
  readonly #pending: ShownChange[] = []

  /** `announce` gives one to the session. */
  constructor(announce: (change: FuseChange, path: string) => void) {
    this.#announce = announce
  }

  /** Queues a change. */
  add(change: ShownChange): void {
    if (this.#batch.length === 0) queueMicrotask(() => this.#flush())
    this.#batch.push(change)
  }

  /** The change under way at a path, if the session asks about that. */
  at(path: string): ShownChange | undefined {
    return this.#pending.find((change) => change.path === path)
  }

  /** The session carries the change at a path out: returns its node, and forgets it with all before it. */
  carryOut(kind: ShownChange['kind'], path: string): ShownNode | undefined {
    const at = this.#pending.findIndex((change) => change.kind === kind && change.path === path)
    return at < 0 ? undefined : this.#pending.splice(0, at + 1).at(-1)?.node
  }

  #flush(): void {
    const fresh = new Set<string>()
    for (const change of this.#batch.splice(0)) {
      if (change.kind === 'added') fresh.add(change.path)
      if (above(change.path).some((directory) => fresh.has(directory))) continue
      // A write is an ordinary write for the file system.
      if (change.kind !== 'written') this.#pending.push(change)
      this.#announce(announced(change), change.path.slice(1))
    }
  }
}

const MADE: Readonly<Record<number, FuseChange>> = {
  [S_IFDIR]: 'make-directory',
  [S_IFLNK]: 'make-link',
  [S_IFREG]: 'make-file',
}

function announced({ kind, node }: ShownChange): FuseChange {
  const type = node.mode & S_IFMT
  if (kind === 'written') return 'write'
  if (kind === 'removed') return type === S_IFDIR ? 'remove-directory' : 'remove'
  return MADE[type] ?? 'make-device'
}

/** The directories that a path lies in. */
function above(path: string): string[] {
  const found: string[] = []
  for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) found.push(path.slice(0, at))
  return found
}
