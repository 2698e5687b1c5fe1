/** What a mounted file system shows: trees of nodes by path, and what stands behind an open file. */
import type { FuseReply, FuseRequest } from '../fuse/request.ts'

/** Type bits of a mode. */
export const S_IFMT = 0o170000
/** Directory. */
export const S_IFDIR = 0o040000
/** Regular file. */
export const S_IFREG = 0o100000
/** Symbolic link. */
export const S_IFLNK = 0o120000

/** A node as others see it. */
export interface ShownNode {
  /** The same object for as long as the node is the same. */
  identity: object
  /** File type and permission bits. */
  mode: number
  /** Bytes. */
  size: number
  uid: number
  gid: number
  /** Where a link leads, relative to the directory that it lies in. */
  target?: string
}

/** An open file. An absent member refuses: `read` and `write` with EINVAL, `ioctl` with ENOTTY; `poll` says that it is ready. */
export interface OpenedNode {
  /** `FOPEN_*`; default {@link FOPEN_DIRECT_IO}. */
  flags?: number
  /** What {@link FuseSession.openBacking} gave. */
  backing?: number
  read?(request: FuseRequest, reply: FuseReply): void
  write?(request: FuseRequest, reply: FuseReply): void
  ioctl?(request: FuseRequest, reply: FuseReply): void
  poll?(request: FuseRequest, reply: FuseReply): void
  /** The caller of a request that is not answered yet has got a signal. */
  interrupt?(token: number): void
  /** The last user has gone. */
  release?(): void
}

/** Something that has appeared or gone. */
export interface ShownChange {
  kind: 'added' | 'removed' | 'written'
  /** Path without links. */
  path: string
  node: ShownNode
}

/** A tree; paths are absolute and go through no link. */
export interface ShownTree {
  /** The node at a path; undefined: there is none. */
  node(path: string): ShownNode | undefined
  /** Names in a directory. */
  names(path: string): string[]
  /** Opens a file. @throws {VfioError} */
  open(path: string, request: FuseRequest): OpenedNode
  /** Sets permission bits. @throws {VfioError} */
  chmod(path: string, mode: number): void
  /** Sets owner and group. @throws {VfioError} */
  chown(path: string, uid: number, gid: number): void
  /** Tells of changes until the returned function is called. */
  watch(listener: (change: ShownChange) => void): () => void
}
