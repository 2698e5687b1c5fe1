/** A root file system for a guest's kernel, as the cpio archive ("newc") that it unpacks into memory. */

/** A file, folder or device node of the archive. */
export interface Entry {
  /** Path without a leading slash. */
  path: string
  /** Type and permission bits. */
  mode: number
  content?: Uint8Array
  /** Numbers of a device node. */
  device?: [major: number, minor: number]
}

/** Kinds of entries, in `mode`. */
export const [FILE, FOLDER, CHARACTER_DEVICE] = [0o100000, 0o040000, 0o020000]

const ALIGNMENT = 4

/** Writes the archive. Folders must come before what is in them. */
export function initramfs(entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = []
  const add = (bytes: Uint8Array): void => {
    parts.push(bytes, new Uint8Array(-bytes.length & (ALIGNMENT - 1)))
  }
  const all: readonly Entry[] = [...entries, { path: 'TRAILER!!!', mode: 0 }]
  for (const [index, { path, mode, content = new Uint8Array(), device = [0, 0] }] of all.entries()) {
    const name = Buffer.from(`${path}\0`)
    const [user, group, links, time, major, minor, checksum] = [0, 0, 1, 0, 0, 0, 0]
    const fields = [
      index + 1,
      mode,
      user,
      group,
      links,
      time,
      content.length,
      major,
      minor,
      ...device,
      name.length,
      checksum,
    ]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    add(Buffer.concat([Buffer.from(header), name]))
    add(content)
  }
  return new Uint8Array(Buffer.concat(parts))
}
