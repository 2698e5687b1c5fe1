/** Shows VFIO groups and devices: nodes under `/dev/vfio`, classes `vfio` and `vfio-dev` in sysfs. */
import type { VfioDevice } from '../device/vfio-device.ts'
import { GroupFile } from '../files/group-file.ts'
import type { Caller, OpenFile } from '../files/open-file.ts'
import { GroupSession } from '../group/group-session.ts'
import type { VfioGroup } from '../group/vfio-group.ts'
import type { VfioRegistry } from '../group/vfio-registry.ts'
import { addDeviceNode } from '../sysfs/device-node.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import type { DevTree } from './dev-tree.ts'

/** Major numbers of the character devices. */
const MAJOR = { group: 510, device: 511 }

/** Opens the character device of a VFIO device. @throws {VfioError} */
export type CdevOpener = (caller: Caller, device: VfioDevice, group: VfioGroup) => OpenFile

/** Keeps `/dev` and `/sys` as the registry is. */
export function showVfioNodes(registry: VfioRegistry, dev: DevTree, sysfs: SysfsTree, openCdev: CdevOpener): void {
  registry.on('group-added', (group) => {
    dev.add(groupNode(group), { mode: 0o600, open: (caller) => new GroupFile(new GroupSession(caller, group)) })
    const path = `/sys/devices/virtual/vfio/${group.name}`
    addClassDevice(sysfs, {
      path,
      name: `vfio/${group.name}`,
      numbers: `${MAJOR.group}:${group.number}`,
      class: 'vfio',
    })
  })
  registry.on('group-removed', (group) => {
    dev.remove(groupNode(group))
    removeClassDevice(sysfs, `/sys/devices/virtual/vfio/${group.name}`, `/sys/class/vfio/${group.name}`)
  })
  registry.on('device-added', (device, group) => {
    const name = cdevName(group, device.index)
    dev.add(`/dev/vfio/devices/${name}`, { mode: 0o600, open: (caller) => openCdev(caller, device, group) })
    if (device.path === undefined) return
    const path = `${device.path}/vfio-dev/${name}`
    addClassDevice(sysfs, {
      path,
      name: `vfio/devices/${name}`,
      numbers: `${MAJOR.device}:${device.index}`,
      class: 'vfio-dev',
    })
    sysfs.link(`${path}/device`, device.path)
  })
  registry.on('device-removed', (device, group, index) => {
    const name = cdevName(group, index)
    dev.remove(`/dev/vfio/devices/${name}`)
    if (device.path !== undefined) removeClassDevice(sysfs, `${device.path}/vfio-dev`, `/sys/class/vfio-dev/${name}`)
  })
}

function groupNode(group: VfioGroup): string {
  return `/dev/vfio/${group.name}`
}

/** Name of a device's own file: its number, said to be without isolation where it is. */
function cdevName(group: VfioGroup, index: number | undefined): string {
  return group.kind === 'noiommu' ? `noiommu-vfio${index}` : `vfio${index}`
}

function addClassDevice(sysfs: SysfsTree, node: { path: string; name: string; numbers: string; class: string }): void {
  const [major = '', minor = ''] = node.numbers.split(':')
  addDeviceNode(sysfs, {
    path: node.path,
    subsystem: `/sys/class/${node.class}`,
    env: () => ({ MAJOR: major, MINOR: minor, DEVNAME: node.name }),
  })
  sysfs.attr(`${node.path}/dev`, { mode: 0o444, show: () => `${node.numbers}\n` })
  sysfs.link(`/sys/class/${node.class}/${node.path.split('/').at(-1)}`, node.path)
}

function removeClassDevice(sysfs: SysfsTree, path: string, classLink: string): void {
  sysfs.remove(classLink)
  sysfs.remove(path)
}
