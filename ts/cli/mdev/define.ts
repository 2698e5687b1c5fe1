/** `vfio define`: keeps what a device is made of, so that its UUID is enough to start it. */
import { randomUUID } from 'node:crypto'
import { VfioError } from '../../index.ts'
import { type Command, EXIT, UsageError } from '../command.ts'
import { openMachine } from '../machine/choice.ts'
import { answer } from '../output.ts'
import { DefinitionFolder } from './definition-folder.ts'
import { definitionFile, JSON_FILE, MDEV_MACHINE, PARENT, TYPE, UUID, uuidOf } from './options.ts'
import { runningDevice } from './sysfs.ts'

export const define: Command = {
  name: 'define',
  summary: 'defines a mediated device persistently',
  description: ['A device that runs can be defined by its UUID alone. Without a UUID one is made up and printed.'],
  options: [
    UUID,
    PARENT,
    TYPE,
    { name: 'auto', short: 'a', summary: 'starts it when its parent appears' },
    JSON_FILE,
    ...MDEV_MACHINE,
  ],
  async run(call) {
    const given = uuidOf(call)
    const uuid = given ?? randomUUID()
    const file = await definitionFile(call, ['type', 'auto'])
    using machine = await openMachine(call)
    const running = given === undefined || file !== undefined ? undefined : await runningDevice(machine.tree, given)
    const parent = call.text('parent') ?? running?.parent
    const mdevType = file?.mdevType ?? call.text('type') ?? running?.mdevType
    if (parent === undefined) throw new UsageError('--parent is missing, and no such device runs')
    if (mdevType === undefined) throw new UsageError('--type is missing')
    const folder = new DefinitionFolder(machine.definitions)
    if ((await folder.list({ uuid, parent })).length > 0) {
      throw new VfioError('EEXIST', 'define', {
        reason: `${uuid} is defined for ${parent} already`,
        remedy: 'change it with vfio modify',
      })
    }
    const start = file?.start ?? (call.flag('auto') ? 'auto' : 'manual')
    await folder.write({ uuid, parent, mdevType, start, attrs: file?.attrs ?? [] })
    if (given === undefined || call.json) answer(call.json, { uuid, parent }, (made) => made.uuid)
    return EXIT.done
  },
}
