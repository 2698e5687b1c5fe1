/** Nodes of a sysfs tree: directories, attributes and links. */

/** Text in and out of one object of the kernel. */
export interface SysfsAttribute {
  kind: 'attribute'
  /** Permission bits, such as 0o644. */
  mode: number
  /** Text that reading gives; absent: EIO (EACCES by mode first). */
  show?: () => string
  /** Takes what was written. @throws {VfioError} */
  store?: (text: string) => void
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
export type SysfsNode = SysfsAttribute | SysfsLink | SysfsDirectory
