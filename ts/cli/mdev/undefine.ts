/** `vfio undefine`: forgets a definition; a device that runs goes on. */
import { VfioError } from '../../index.ts'
import { type Command, EXIT } from '../command.ts'
import { openMachine } from '../machine/choice.ts'
import { answer } from '../output.ts'
import { DefinitionFolder } from './definition-folder.ts'
import { MDEV_MACHINE, needUuid, PARENT, UUID } from './options.ts'

export const undefine: Command = {
  name: 'undefine',
  summary: "removes a mediated device's definition",
  description: [
    'Without a parent, the definitions of all parents with that UUID go. Devices that run are not touched.',
  ],
  options: [UUID, PARENT, ...MDEV_MACHINE],
  async run(call) {
    const uuid = needUuid(call)
    using machine = await openMachine(call)
    const folder = new DefinitionFolder(machine.definitions)
    const devices = await folder.list({ uuid, parent: call.text('parent') })
    if (devices.length === 0) {
      throw new VfioError('ENOENT', 'undefine', { reason: `${uuid} is not defined in ${machine.definitions}` })
    }
    for (const device of devices) await folder.remove(device)
    if (call.json)
      answer(
        true,
        devices.map(({ parent }) => ({ uuid, parent })),
        String,
      )
    return EXIT.done
  },
}
