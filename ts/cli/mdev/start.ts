/** `vfio start`: makes a mediated device. */
import { randomUUID } from 'node:crypto'
import { VfioError } from '../../index.ts'
import { type Command, EXIT, UsageError } from '../command.ts'
import { openMachine } from '../machine/choice.ts'
import { answer } from '../output.ts'
import { type DefinedDevice, DefinitionFolder } from './definition-folder.ts'
import { definitionFile, JSON_FILE, MDEV_MACHINE, PARENT, TYPE, UUID, uuidOf } from './options.ts'
import { startDevice } from './sysfs.ts'

export const start: Command = {
  name: 'start',
  summary: 'starts a mediated device',
  description: [
    'A defined device needs its UUID only. Otherwise parent and type, or parent and a file, say what is made; without a UUID one is made up and printed.',
  ],
  options: [UUID, PARENT, TYPE, JSON_FILE, ...MDEV_MACHINE],
  async run(call) {
    const given = uuidOf(call)
    const uuid = given ?? randomUUID()
    const parent = call.text('parent')
    const mdevType = call.text('type')
    const file = await definitionFile(call, ['type'])
    if (given === undefined && parent === undefined) throw new UsageError('--uuid or --parent is missing')
    using machine = await openMachine(call)
    const defined =
      given === undefined || file !== undefined
        ? undefined
        : await definition(new DefinitionFolder(machine.definitions), given, parent)
    if (defined !== undefined && mdevType !== undefined && mdevType !== defined.mdevType) {
      throw new VfioError('EEXIST', 'start', {
        reason: `${uuid} is defined for ${defined.parent} with type ${defined.mdevType}`,
        remedy: 'leave --type out, or modify the definition',
      })
    }
    const device = {
      uuid,
      parent: parent ?? defined?.parent,
      mdevType: file?.mdevType ?? defined?.mdevType ?? mdevType,
    }
    if (device.parent === undefined || device.mdevType === undefined) {
      const missing = device.parent === undefined ? '--parent' : '--type'
      throw new UsageError(`${missing} is missing, and ${uuid} is not defined`)
    }
    const whole = { uuid, parent: device.parent, mdevType: device.mdevType }
    await startDevice(machine.tree, whole, file?.attrs ?? defined?.attrs ?? [])
    if (given === undefined || call.json) answer(call.json, whole, (made) => made.uuid)
    return EXIT.done
  },
}

/** The definition of a UUID, if there is one. @throws {VfioError} EINVAL several parents have one */
async function definition(folder: DefinitionFolder, uuid: string, parent?: string): Promise<DefinedDevice | undefined> {
  const all = await folder.list({ uuid, parent })
  return all.length === 0 ? undefined : folder.one(uuid, parent)
}
