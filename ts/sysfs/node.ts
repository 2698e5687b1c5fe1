/** Nodes of a sysfs tree: directories, attributes (text or bytes) and links. */

/** Text in and out of one object of the kernel. */
export interface SysfsAttribute {
  kind: 'attribute'
  /** Permission bits, such as 0o644. */
  mode: number
  /** Text that reading gives; absent: EIO (EACCES by mode first). */
  show?: () => string
  /**
   * Takes what was written. A promise says that the kernel's writer sleeps: whoever writes through the tree goes on, whoever
   * writes through a mounted file system waits for it.
   * @throws {VfioError}
   */
  store?: (text: string) => void | Promise<void>
}

/** Bytes that are read and written at offsets, such as a device's configuration space. */
export interface SysfsBinary {
  kind: 'binary'
  /** Permission bits, such as 0o644. */
  mode: number
  /** Size in bytes. */
  size: number
  /** Fills `into` from `offset` on and returns how many bytes; absent: EIO. */
  read?: (offset: number, into: Uint8Array) => number
  /** Takes bytes at `offset` and returns how many; absent: EIO. */
  write?: (offset: number, from: Uint8Array) => number
}

/** A symbolic link; `target` is absolute within the tree. */
export interface SysfsLink {
  kind: 'link'
  target: string
}

/** A directory; entries are listed in name order. */
export interface SysfsDirectory {
  kind: 'directory'
  entries: Map<string, SysfsNode>
}

/** Any node. */
export type SysfsNode = SysfsAttribute | SysfsBinary | SysfsLink | SysfsDirectory
