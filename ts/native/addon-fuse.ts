/** The part of the addon that is FUSE: file systems that JavaScript serves. See `addon.ts` for its manners. */

/** How a file system is mounted. */
export interface NativeFuseSettings {
  name?: string
  allowOther?: boolean
  defaultPermissions?: boolean
  passthrough?: boolean
}

/** What a {@link NativeFuseMail} is: an operation of the kernel's, or an event. */
export type NativeFuseOp =
  | 'lookup'
  | 'getattr'
  | 'setattr'
  | 'readlink'
  | 'symlink'
  | 'mknod'
  | 'mkdir'
  | 'unlink'
  | 'rmdir'
  | 'rename'
  | 'link'
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'statfs'
  | 'release'
  | 'fsync'
  | 'flush'
  | 'opendir'
  | 'readdir'
  | 'releasedir'
  | 'access'
  | 'ioctl'
  | 'poll'
  | 'other'
  | 'forget'
  | 'interrupt'
  | 'ended'

/** A request, or what else happens to a file system; what does not apply is absent. */
export interface NativeFuseMail {
  /** By which it is answered; of `interrupt`, the request that is meant. */
  token: number
  op: NativeFuseOp
  node?: number
  uid?: number
  gid?: number
  /** Thread of the caller. */
  tid?: number
  /** The session itself asks, to announce a change. */
  own?: boolean
  name?: string
  /** New name, or target of a link. */
  newName?: string
  /** Directory of the new name, or node that gets another name. */
  otherNode?: number
  /** What opening answered. */
  fh?: number
  flags?: number
  offset?: number
  /** Bytes; of `forget` lookups. */
  size?: number
  /** Permission bits; mask of `access`, events of `poll`. */
  mode?: number
  /** Attributes that `setattr` sets. */
  valid?: number
  newUid?: number
  newGid?: number
  /** Command of an ioctl. */
  cmd?: number
  /** Its argument, as it was passed. */
  arg?: bigint
  data?: Uint8Array
  /** Who waits for readiness. */
  kh?: number
  /** A page of a mapping is to be filled. */
  page?: boolean
  /** Errno that ended the session, if it was not closed. */
  reason?: string
}

/** Attributes of a node. */
export interface NativeFuseAttributes {
  /** Number of the node; 1 is the root. */
  node: number
  /** File type and permission bits. */
  mode: number
  /** Bytes. */
  size: number
  /** Names; default 1. */
  nlink?: number
  uid: number
  gid: number
  /** Device number. */
  rdev?: number
  /** Seconds since 1970. */
  mtime?: number
}

/** An entry of a directory. */
export interface NativeFuseListed {
  name: string
  node: number
  mode: number
}

/** What watchers of a directory are to see. */
export type NativeFuseChange =
  'make-directory' | 'make-file' | 'make-device' | 'make-link' | 'remove-directory' | 'remove' | 'write'

/**
 * A mounted file system. Its event loop goes on until `ended` was taken. Answers to requests that nobody waits for any more are
 * dropped, and so is what the kernel is told about nodes that it does not know.
 */
export interface NativeFuse {
  /** Why nothing was mounted. */
  failure(): { step: string; code: string } | null
  /** The next mail; null: none, and the next wakes. */
  next(): NativeFuseMail | null
  /** `errno` is positive. @throws ERR_OUT_OF_RANGE no errno */
  refuse(token: number, errno: number): void
  done(token: number): void
  entry(token: number, attributes: NativeFuseAttributes): void
  attributes(token: number, attributes: NativeFuseAttributes): void
  /** `flags` are `FOPEN_*`; `backing` is 0 or what {@link openBacking} gave. */
  opened(token: number, fh: number, flags: number, backing: number): void
  data(token: number, data: Uint8Array): void
  written(token: number, count: number): void
  ioctl(token: number, result: number, data?: Uint8Array): void
  polled(token: number, events: number): void
  /** All entries of the directory; what was asked for is cut out of them. */
  listed(token: number, entries: NativeFuseListed[]): void
  statfs(token: number): void
  invalidateEntry(parent: number, name: string): void
  deleteEntry(parent: number, child: number, name: string): void
  invalidateNode(node: number): void
  announce(change: NativeFuseChange, path: string): void
  wakePoll(kh: number): void
  /** @throws EBADF closed, or no such file; EPERM, EOPNOTSUPP, ELOOP, ENOTTY: see `Session::open_backing` */
  openBacking(fd: number): number
  /** @throws EBADF closed, EPERM, ENOENT */
  closeBacking(id: number): void
  /** A new descriptor of a mount that is nowhere yet, for the caller to close. @throws EBADF closed, EINVAL, EMFILE */
  mountFd(): number
  /** Begins to take the mount away; `ended` tells when that is done. */
  close(): void
}

/** Mounts at a directory, or (null) nowhere yet. The promise is kept whatever becomes of it: see {@link NativeFuse.failure}. */
export type NativeMountFuse = (
  directory: string | null,
  settings: NativeFuseSettings,
  wake: () => void,
) => Promise<NativeFuse>
