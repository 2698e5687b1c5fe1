/**
 * A folder as the root of a machine, as `chroot` would want one: `sys` and `dev` are mounted in it, and what mdevctl keeps lies
 * beside them, so that `MDEVCTL_ENV_ROOT` can name it.
 */
import { mkdir, readdir, rmdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type HostMount, isErrno, type SoftwareHost, VfioError } from '../../index.ts'

const TREES = ['sys', 'dev'] as const
/** Folders without which mdevctl does not start. */
const MDEVCTL = ['etc/mdevctl.d', 'usr/lib/mdevctl/scripts.d/callouts', 'usr/lib/mdevctl/scripts.d/notifiers']

/** A root until it is closed. */
export class MountedRoot {
  /** The folder. */
  readonly directory: string
  readonly #mounts: HostMount[] = []
  /** Folders that were not there before. */
  readonly #made: string[] = []

  private constructor(directory: string) {
    this.directory = directory
  }

  /** Mounts a machine. @throws {VfioError} ENOTEMPTY something is in `sys` or `dev` of that folder, ENOTCONN a dead mount; as `host.mount()` */
  static async make(host: SoftwareHost, directory: string): Promise<MountedRoot> {
    const root = new MountedRoot(resolve(directory))
    try {
      for (const tree of TREES) await root.#prepare(join(root.directory, tree))
      for (const folder of MDEVCTL) await mkdir(join(root.directory, folder), { recursive: true })
      for (const tree of TREES) root.#mounts.push(await host.mount(join(root.directory, tree), { tree }))
    } catch (error) {
      await root.close()
      throw error
    }
    return root
  }

  /** Takes the mounts away, and the folders that were made for them. */
  async close(): Promise<void> {
    await Promise.all(this.#mounts.splice(0).map((mount) => mount.close()))
    // What somebody has mounted or put there meanwhile stays.
    for (const path of this.#made.splice(0)) await rmdir(path).catch(() => {})
  }

  /** What is there must not vanish behind a mount, the computer's own `/sys` least of all. */
  async #prepare(path: string): Promise<void> {
    try {
      if ((await mkdir(path, { recursive: true })) !== undefined) this.#made.push(path)
      if ((await readdir(path)).length === 0) return
    } catch (cause) {
      if (!isErrno(cause, 'ENOTCONN')) throw cause
      const reason = 'the mount of a host that is dead lies there'
      throw new VfioError('ENOTCONN', 'mount', { path, reason, remedy: `umount -l ${path}`, cause })
    }
    throw new VfioError('ENOTEMPTY', 'mount', { path, remedy: 'name another folder, or unmount what is there' })
  }
}
