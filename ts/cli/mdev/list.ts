/** `vfio list`: mediated devices that run, or are defined. */
import { type Command, EXIT } from '../command.ts'
import { openMachine } from '../machine/choice.ts'
import { answer } from '../output.ts'
import { type DefinedDevice, DefinitionFolder } from './definition-folder.ts'
import { definitionJson } from './definition.ts'
import { DUMP_JSON, MDEV_MACHINE, PARENT, UUID, uuidOf } from './options.ts'
import { runningDevices } from './sysfs.ts'

/** A device of the list. */
interface Listed extends DefinedDevice {
  readonly running: boolean
  readonly defined: boolean
}

export const list: Command = {
  name: 'list',
  summary: 'lists mediated devices that run, or with --defined those that are defined',
  options: [
    { name: 'defined', short: 'd', summary: 'lists definitions, whether they run or not' },
    { name: 'verbose', short: 'v', summary: 'shows attributes too' },
    UUID,
    PARENT,
    DUMP_JSON,
    ...MDEV_MACHINE,
  ],
  async run(call) {
    const defined = call.flag('defined')
    const uuid = uuidOf(call)
    const filter = { uuid, parent: call.text('parent') }
    using machine = await openMachine(call)
    const definitions = await new DefinitionFolder(machine.definitions).list(filter)
    const running = await runningDevices(machine.tree, filter)
    const devices: Listed[] = defined
      ? definitions.map((device) => ({
          ...device,
          defined: true,
          running: running.some((other) => same(device, other) && other.mdevType === device.mdevType),
        }))
      : running.map((device) => {
          const definition = definitions.find((other) => same(device, other))
          return {
            ...device,
            start: definition?.start ?? 'manual',
            attrs: [],
            running: true,
            defined: definition !== undefined,
          }
        })
    if (call.json || call.flag('dumpjson')) answer(true, listJson(devices, uuid !== undefined), String)
    else answer(false, devices, (all) => all.map((device) => lineOf(device, defined, call.flag('verbose'))).join(''))
    return EXIT.done
  },
}

function same(a: { uuid: string; parent: string }, b: { uuid: string; parent: string }): boolean {
  return a.uuid === b.uuid && a.parent === b.parent
}

/** One device alone comes so that it can be kept as a definition. */
function listJson(devices: readonly Listed[], single: boolean): unknown {
  const [first] = devices
  if (single && devices.length <= 1) return first === undefined ? [] : definitionJson(first)
  if (first === undefined) return []
  const parents: Record<string, unknown[]> = {}
  for (const device of devices) (parents[device.parent] ??= []).push({ [device.uuid]: definitionJson(device) })
  return [parents]
}

function lineOf(device: Listed, defined: boolean, verbose: boolean): string {
  const also = defined ? (device.running ? ' (active)' : '') : device.defined ? ' (defined)' : ''
  const line = `${device.uuid} ${device.parent} ${device.mdevType} ${device.start}${also}\n`
  if (!verbose || device.attrs.length === 0) return line
  const attrs = device.attrs.map(([name, value], index) => `    @{${index}}: {"${name}":"${value}"}\n`)
  return `${line}  Attrs:\n${attrs.join('')}`
}
