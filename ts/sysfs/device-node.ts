/** The parts of a device's directory that every device has: `subsystem`, `uevent` and `power/`. */
import { VfioError } from '../errors.ts'
import type { SysfsTree } from './tree.ts'

/** Actions that may be written to `uevent`. */
export const UEVENT_ACTIONS = ['add', 'remove', 'change', 'bind', 'unbind', 'move', 'online', 'offline'] as const

/** One of {@link UEVENT_ACTIONS}. */
export type UeventAction = (typeof UEVENT_ACTIONS)[number]

/** What a device's directory is made of. */
export interface DeviceNode {
  path: string
  /** Directory of its bus or class. */
  subsystem?: string
  /** Variables that `uevent` shows. */
  env: () => Readonly<Record<string, string>>
  /** Somebody asked for a notification by writing to `uevent`. */
  notify?: (action: UeventAction) => void
}

/** Makes the directory of a device. */
export function addDeviceNode(sysfs: SysfsTree, { path, subsystem, env, notify }: DeviceNode): void {
  sysfs.dir(path)
  if (subsystem !== undefined) sysfs.link(`${path}/subsystem`, subsystem)
  sysfs.attr(`${path}/uevent`, {
    mode: 0o644,
    show: () =>
      Object.entries(env())
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    store: (text) => {
      const action = writtenAction(text, `${path}/uevent`)
      notify?.(action)
    },
  })
  addPowerGroup(sysfs, `${path}/power`)
}

/** Tells whether a text is what `word` is, up to one newline (`sysfs_streq`). */
export function sysfsEquals(text: string, word: string): boolean {
  return oneLine(text) === word
}

/** A text as `sysfs_streq` compares it: without what follows a NUL, and without one newline at its end. */
export function oneLine(text: string): string {
  const nul = text.indexOf('\0')
  return (nul < 0 ? text : text.slice(0, nul)).replace(/\n$/, '')
}

/** Tells what was asked of a `uevent` attribute: an action, whatever variables follow it. @throws {VfioError} EINVAL */
export function writtenAction(text: string, path: string): UeventAction {
  const word = oneLine(text).split(' ', 1)[0]
  const action = UEVENT_ACTIONS.find((known) => known === word)
  if (action === undefined) throw new VfioError('EINVAL', 'write', { path, reason: 'no such action' })
  return action
}

/** Runtime power management of a device that has none. */
function addPowerGroup(sysfs: SysfsTree, path: string): void {
  let control = 'auto'
  sysfs.attr(`${path}/autosuspend_delay_ms`, { mode: 0o644 })
  sysfs.attr(`${path}/control`, {
    mode: 0o644,
    show: () => `${control}\n`,
    store: (text) => {
      const word = oneLine(text)
      if (word !== 'auto' && word !== 'on') throw new VfioError('EINVAL', 'write', { path: `${path}/control` })
      control = word
    },
  })
  sysfs.attr(`${path}/runtime_active_time`, { mode: 0o444, show: () => '0\n' })
  sysfs.attr(`${path}/runtime_status`, { mode: 0o444, show: () => 'unsupported\n' })
  sysfs.attr(`${path}/runtime_suspended_time`, { mode: 0o444, show: () => '0\n' })
}
