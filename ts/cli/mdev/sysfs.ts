/** Mediated devices as a machine's sysfs shows them: types, running devices, making and removing. */
import { VfioError } from '../../index.ts'
import { isUuid } from '../daemon/served.ts'
import { listOrNone, type MachineTree, readOrNone, realpathOrNone } from '../machine/tree.ts'
import type { DeviceFilter } from './definition-folder.ts'

const PARENTS = '/sys/class/mdev_bus'
const DEVICES = '/sys/bus/mdev/devices'

/** A type that a parent offers. */
export interface OfferedType {
  readonly parent: string
  readonly id: string
  readonly availableInstances: number
  readonly deviceApi: string
  readonly name: string
  readonly description: string
}

/** A device that is there. */
export interface RunningDevice {
  readonly uuid: string
  readonly parent: string
  readonly mdevType: string
}

/** Parents that are there, each with its types. */
export async function offeredTypes(tree: MachineTree, parent?: string): Promise<Map<string, OfferedType[]>> {
  const parents = await listOrNone(tree, PARENTS)
  const offered = new Map<string, OfferedType[]>()
  for (const name of parents.filter((one) => parent === undefined || one === parent)) {
    const ids = await listOrNone(tree, typesPath(name))
    offered.set(name, await Promise.all(ids.map((id) => offeredType(tree, name, id))))
  }
  return offered
}

/** Devices that are there, by parent and UUID. */
export async function runningDevices(tree: MachineTree, filter: DeviceFilter = {}): Promise<RunningDevice[]> {
  const uuids = (await listOrNone(tree, DEVICES)).filter(isUuid)
  const wanted = uuids.filter((uuid) => filter.uuid === undefined || uuid === filter.uuid)
  const found = await Promise.all(wanted.map((uuid) => runningDevice(tree, uuid)))
  return found
    .filter((device) => device !== undefined)
    .filter((device) => filter.parent === undefined || device.parent === filter.parent)
    .sort((a, b) => (`${a.parent} ${a.uuid}` < `${b.parent} ${b.uuid}` ? -1 : 1))
}

/** The device of that UUID, if it is there. */
export async function runningDevice(tree: MachineTree, uuid: string): Promise<RunningDevice | undefined> {
  const path = await realpathOrNone(tree, `${DEVICES}/${uuid}`)
  const type = await realpathOrNone(tree, `${DEVICES}/${uuid}/mdev_type`)
  if (path === undefined || type === undefined) return undefined
  return { uuid, parent: path.split('/').at(-2) ?? '', mdevType: type.split('/').at(-1) ?? '' }
}

/**
 * Makes a device and writes its attributes; one that does not take them all is removed again.
 * @throws {VfioError} EEXIST it is there, ENODEV no such parent, EINVAL the parent has no such type or the device no such attribute,
 *   EUSERS no instance is left
 */
export async function startDevice(
  tree: MachineTree,
  device: RunningDevice,
  attrs: readonly (readonly [string, string])[],
): Promise<void> {
  const { uuid, parent, mdevType } = device
  const there = await runningDevice(tree, uuid)
  if (there !== undefined) {
    throw new VfioError('EEXIST', 'start', { reason: `${uuid} runs as ${there.mdevType} of ${there.parent}` })
  }
  await requireInstance(tree, parent, mdevType)
  await tree.write(`${typesPath(parent)}/${mdevType}/create`, uuid)
  try {
    for (const [name, value] of attrs) await writeAttribute(tree, uuid, name, value)
  } catch (error) {
    await stopDevice(tree, uuid)
    throw error
  }
}

/** Removes a device. @throws {VfioError} ENODEV it is not there, and what its driver refuses with */
export async function stopDevice(tree: MachineTree, uuid: string): Promise<void> {
  if ((await runningDevice(tree, uuid)) === undefined) {
    throw new VfioError('ENODEV', 'stop', { reason: `${uuid} does not run`, remedy: 'vfio list shows what does' })
  }
  await tree.write(`${DEVICES}/${uuid}/remove`, '1')
}

/** Writes one attribute of a device. @throws {VfioError} EINVAL it has no such attribute */
export async function writeAttribute(tree: MachineTree, uuid: string, name: string, value: string): Promise<void> {
  const path = `${DEVICES}/${uuid}/${name}`
  if (name.split('/').includes('..') || (await realpathOrNone(tree, path)) === undefined) {
    throw new VfioError('EINVAL', 'start', { reason: `${uuid} has no attribute '${name}'` })
  }
  await tree.write(path, value)
}

async function requireInstance(tree: MachineTree, parent: string, mdevType: string): Promise<void> {
  const offered = await offeredTypes(tree)
  const types = offered.get(parent)
  if (types === undefined) {
    const similar = [...offered.keys()].find((name) => name.toLowerCase() === parent.toLowerCase())
    const parents = [...offered.keys()].join(', ') || 'none'
    throw new VfioError('ENODEV', 'start', {
      reason: `there is no parent '${parent}'`,
      remedy: similar === undefined ? `there are: ${parents}` : `did you mean '${similar}'?`,
    })
  }
  const type = types.find(({ id }) => id === mdevType)
  if (type === undefined) {
    throw new VfioError('EINVAL', 'start', {
      reason: `${parent} offers no type '${mdevType}'`,
      remedy: `it offers ${types.map(({ id }) => id).join(', ')}`,
    })
  }
  if (type.availableInstances > 0) return
  throw new VfioError('EUSERS', 'start', {
    reason: `${parent} has no instance of ${mdevType} left`,
    remedy: 'stop a device of that parent first',
  })
}

async function offeredType(tree: MachineTree, parent: string, id: string): Promise<OfferedType> {
  const path = `${typesPath(parent)}/${id}`
  const [instances, deviceApi, name, description] = await Promise.all(
    ['available_instances', 'device_api', 'name', 'description'].map((file) => readOrNone(tree, `${path}/${file}`)),
  )
  return {
    parent,
    id,
    availableInstances: Number(instances?.trim() ?? 0),
    deviceApi: deviceApi?.trim() ?? '',
    name: name?.trim() ?? '',
    description: description?.trim().replaceAll('\n', ', ') ?? '',
  }
}

function typesPath(parent: string): string {
  return `${PARENTS}/${parent}/mdev_supported_types`
}
