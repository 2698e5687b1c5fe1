/** `vfio modify`: changes a definition, or with `--live` the attributes of a device that runs. */
import { type Call, type Command, EXIT, UsageError } from '../command.ts'
import { type Machine, openMachine } from '../machine/choice.ts'
import { type DefinedDevice, DefinitionFolder } from './definition-folder.ts'
import { definitionFile, JSON_FILE, MDEV_MACHINE, needUuid, PARENT, TYPE, UUID } from './options.ts'
import { runningDevice, writeAttribute } from './sysfs.ts'
import { VfioError } from '../../index.ts'

export const modify: Command = {
  name: 'modify',
  summary: "changes a mediated device's definition, or with --live the device that runs",
  options: [
    UUID,
    PARENT,
    TYPE,
    { name: 'addattr', value: 'NAME', summary: 'adds an attribute, written when the device starts' },
    { name: 'delattr', summary: 'removes an attribute: the last, or the one at --index' },
    { name: 'index', short: 'i', value: 'N', summary: 'place of the attribute in the list, from 0' },
    { name: 'value', value: 'TEXT', summary: 'what is written to the attribute of --addattr' },
    { name: 'auto', short: 'a', summary: 'starts the device when its parent appears' },
    { name: 'manual', short: 'm', summary: 'starts the device only when asked to' },
    { name: 'live', summary: 'changes the device that runs, by --jsonfile' },
    { name: 'defined', short: 'd', summary: 'with --live: changes the definition too' },
    JSON_FILE,
    ...MDEV_MACHINE,
  ],
  async run(call) {
    const uuid = needUuid(call)
    if (call.flag('auto') && call.flag('manual')) throw new UsageError('--auto and --manual contradict each other')
    if (call.text('addattr') !== undefined && call.flag('delattr'))
      throw new UsageError('--addattr and --delattr contradict each other')
    using machine = await openMachine(call)
    const folder = new DefinitionFolder(machine.definitions)
    if (call.flag('live')) await modifyLive(call, uuid, machine, folder)
    else await folder.write(await modified(call, uuid, folder))
    return EXIT.done
  },
}

async function modified(call: Call, uuid: string, folder: DefinitionFolder): Promise<DefinedDevice> {
  const file = await definitionFile(call, ['type', 'index', 'value', 'addattr', 'delattr', 'auto', 'manual'])
  const device = await folder.one(uuid, call.text('parent'))
  if (file !== undefined) return { ...device, ...file }
  const start = call.flag('auto') ? 'auto' : call.flag('manual') ? 'manual' : device.start
  return { ...device, mdevType: call.text('type') ?? device.mdevType, start, attrs: attributes(call, device.attrs) }
}

function attributes(call: Call, attrs: DefinedDevice['attrs']): DefinedDevice['attrs'] {
  const name = call.text('addattr')
  if (name === undefined && !call.flag('delattr')) return attrs
  const last = name === undefined ? attrs.length - 1 : attrs.length
  const index = call.count('index') ?? last
  if (index < 0 || index > last) {
    throw new VfioError('EINVAL', 'modify', { reason: `there is no attribute ${index}: the list has ${attrs.length}` })
  }
  return name === undefined ? attrs.toSpliced(index, 1) : attrs.toSpliced(index, 0, [name, call.need('value')])
}

async function modifyLive(call: Call, uuid: string, machine: Machine, folder: DefinitionFolder): Promise<void> {
  for (const name of ['auto', 'manual']) if (call.flag(name)) throw new UsageError(`--${name} does not go with --live`)
  call.need('jsonfile')
  const file = await definitionFile(call, ['type', 'index', 'value', 'addattr', 'delattr'])
  const running = await runningDevice(machine.tree, uuid)
  if (file === undefined || running === undefined) {
    throw new VfioError('ENODEV', 'modify', { reason: `${uuid} does not run`, remedy: 'start it, or leave --live out' })
  }
  if (file.mdevType !== running.mdevType) {
    throw new VfioError('EINVAL', 'modify', {
      reason: `${uuid} runs as ${running.mdevType}, and a device that runs cannot become ${file.mdevType}`,
    })
  }
  const defined = call.flag('defined') ? await folder.one(uuid, running.parent) : undefined
  for (const [name, value] of file.attrs) await writeAttribute(machine.tree, uuid, name, value)
  if (defined !== undefined) await folder.write({ ...defined, ...file })
}
