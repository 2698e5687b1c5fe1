/** The parts of a device's sysfs directory that every device has: `uevent`, `power/` and `subsystem`. */
import { VfioError } from '../errors.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import type { MdevAttribute, MdevAttributeGroups } from './model.ts'
import { UEVENT_ACTIONS, type UeventAction } from './uevents.ts'

/** What a device's directory is made of. */
export interface DeviceNode {
  path: string
  /** Directory of its bus or class. */
  subsystem: string
  /** Variables that `uevent` shows. */
  env: () => Readonly<Record<string, string>>
  /** Somebody asked for a notification by writing to `uevent`. */
  notify: (action: UeventAction) => void
}

/** Makes the directory of a device. */
export function addDeviceNode(sysfs: SysfsTree, { path, subsystem, env, notify }: DeviceNode): void {
  sysfs.dir(path)
  sysfs.link(`${path}/subsystem`, subsystem)
  sysfs.attr(`${path}/uevent`, {
    mode: 0o644,
    show: () =>
      Object.entries(env())
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    store: (text) => notify(writtenAction(text, `${path}/uevent`)),
  })
  addPowerGroup(sysfs, `${path}/power`)
}

/** Shows attributes of `object` under `path`, each group in its directory. */
export function addAttributeGroups<T>(sysfs: SysfsTree, path: string, groups: MdevAttributeGroups<T>, object: T): void {
  for (const [group, attributes] of Object.entries(groups)) {
    const directory = group === '' ? path : `${path}/${group}`
    sysfs.dir(directory)
    for (const [name, attribute] of Object.entries(attributes))
      addAttribute(sysfs, `${directory}/${name}`, attribute, object)
  }
}

/** Takes what {@link addAttributeGroups} showed away. */
export function removeAttributeGroups<T>(sysfs: SysfsTree, path: string, groups: MdevAttributeGroups<T>): void {
  for (const [group, attributes] of Object.entries(groups)) {
    if (group !== '') sysfs.remove(`${path}/${group}`)
    else for (const name of Object.keys(attributes)) sysfs.remove(`${path}/${name}`)
  }
}

/** Shows one attribute of `object`. */
export function addAttribute<T>(sysfs: SysfsTree, path: string, attribute: MdevAttribute<T>, object: T): void {
  const { show, store } = attribute
  sysfs.attr(path, {
    mode: attribute.mode ?? (show === undefined ? 0 : 0o444) | (store === undefined ? 0 : 0o200),
    ...(show === undefined ? {} : { show: () => show.call(attribute, object) }),
    ...(store === undefined ? {} : { store: (text: string) => store.call(attribute, object, text) }),
  })
}

/** Tells what was asked of a `uevent` attribute: an action, whatever variables follow it. @throws {VfioError} EINVAL */
export function writtenAction(text: string, path: string): UeventAction {
  const word = text.replace(/[\n\0]$/, '').split(' ', 1)[0]
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
      const word = text.replace(/\n$/, '')
      if (word !== 'auto' && word !== 'on') throw new VfioError('EINVAL', 'write', { path: `${path}/control` })
      control = word
    },
  })
  sysfs.attr(`${path}/runtime_active_time`, { mode: 0o444, show: () => '0\n' })
  sysfs.attr(`${path}/runtime_status`, { mode: 0o444, show: () => 'unsupported\n' })
  sysfs.attr(`${path}/runtime_suspended_time`, { mode: 0o444, show: () => '0\n' })
}
