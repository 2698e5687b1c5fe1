/** `vfio stop`: removes a mediated device. */
import { type Command, EXIT } from '../command.ts'
import { openMachine } from '../machine/choice.ts'
import { MDEV_MACHINE, needUuid, UUID } from './options.ts'
import { stopDevice } from './sysfs.ts'

export const stop: Command = {
  name: 'stop',
  summary: 'stops a mediated device',
  description: ['A device that somebody uses goes as soon as its users have let go: they are asked to.'],
  options: [UUID, ...MDEV_MACHINE],
  async run(call) {
    const uuid = needUuid(call)
    using machine = await openMachine(call)
    await stopDevice(machine.tree, uuid)
    return EXIT.done
  },
}
