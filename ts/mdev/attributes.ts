/** Drivers' attributes in sysfs. */
import type { SysfsTree } from '../sysfs/tree.ts'
import type { MdevAttribute, MdevAttributeGroups } from './model.ts'

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
