/** A machine's trees, mounted as files of the operating system. */
import { FuseSession } from '../fuse/session.ts'
import type { UeventEmitter, Uevent } from '../mdev/uevents.ts'
import { MachineFiles } from '../mount/machine-files.ts'
import type { ShownTree } from '../mount/shown.ts'
import { ShownSysfs } from '../mount/shown-sysfs.ts'
import { flag, oneOf, record, text } from '../shape.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import type { DevTree } from './dev-tree.ts'
import { type NodeOpener, ShownDev } from './shown-dev.ts'

/** How a machine's trees are mounted. */
export interface MountOptions {
  /** Only this tree, as the directory itself; absent: `sys` and `dev` in it. */
  tree?: 'sys' | 'dev'
  /** Users but the one who mounts may look in; default true. Modes and owners are checked in any case. */
  allowOther?: boolean
  /** Name of the source, as `mount` lists it; default `vfio`. */
  name?: string
  /**
   * What stands behind an open device node.
   * @internal
   */
  openNode?: NodeOpener
}

/** A mount of a machine's trees. It keeps the program running until it is closed, unmounted, or the machine is closed. */
export class HostMount {
  /** Where it is. */
  readonly directory: string
  readonly #session: FuseSession

  /**
   * Made by `host.mount()`.
   * @internal
   */
  constructor(directory: string, session: FuseSession) {
    this.directory = directory
    this.#session = session
  }

  /** Fulfilled when the mount has gone; with an errno, where it was neither closed nor unmounted. */
  get closed(): Promise<string | undefined> {
    return this.#session.closed
  }

  /** Takes the mount away (idempotent); fulfilled when that is done. Files that are open in it answer ENOTCONN then. */
  async close(): Promise<void> {
    await this.#session.close()
  }

  /** Begins to take the mount away. */
  [Symbol.dispose](): void {
    void this.close()
  }

  /** Takes the mount away. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** The parts of a machine that are shown. */
export interface MountedMachine {
  readonly sysfs: SysfsTree
  readonly dev: DevTree
  readonly mdev: UeventEmitter
}

/** Mounts the trees of a machine. @throws as `host.mount()` */
export async function mountTrees(
  machine: MountedMachine,
  directory: string,
  options: MountOptions,
): Promise<HostMount> {
  const { tree, openNode } = record(options, 'options')
  const only = tree === undefined ? undefined : oneOf(tree, ['sys', 'dev'], 'tree')
  const sys = new ShownSysfs(machine.sysfs)
  const trees = new Map<string, ShownTree>([
    ['dev', new ShownDev(machine.dev, openNode)],
    ['sys', sys],
  ])
  const files = new MachineFiles(trees, only)
  const settings = {
    name: text(options.name ?? 'vfio', 'name'),
    allowOther: flag(options.allowOther, 'allowOther', true),
  }
  const session = await FuseSession.mount(text(directory, 'directory'), settings, files)
  files.announceThrough(session)
  // What comes and goes is seen in the directories; other notifications show as writes to the attribute `uevent`.
  const notified = ({ action, devpath }: Uevent): void => {
    if (action !== 'add' && action !== 'remove') sys.wrote(`/sys${devpath}/uevent`)
  }
  machine.mdev.on('uevent', notified)
  void session.closed.then(() => machine.mdev.off('uevent', notified))
  return new HostMount(directory, session)
}
