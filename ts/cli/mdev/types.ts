/** `vfio types`: which mediated devices can be made. */
import { type Command, EXIT } from '../command.ts'
import { openMachine } from '../machine/choice.ts'
import { answer } from '../output.ts'
import { DUMP_JSON, MDEV_MACHINE, PARENT } from './options.ts'
import { offeredTypes, type OfferedType } from './sysfs.ts'

export const types: Command = {
  name: 'types',
  summary: 'lists the types of mediated devices that parents offer',
  options: [PARENT, DUMP_JSON, ...MDEV_MACHINE],
  async run(call) {
    using machine = await openMachine(call)
    const offered = await offeredTypes(machine.tree, call.text('parent'))
    const json = call.json || call.flag('dumpjson')
    if (json) answer(true, typesJson(offered), String)
    else answer(false, offered, typesText)
    return EXIT.done
  },
}

function typesJson(offered: ReadonlyMap<string, readonly OfferedType[]>): unknown {
  const parents = [...offered].map(([parent, list]) => [parent, list.map(typeJson)] as const)
  return parents.length === 0 ? [] : [Object.fromEntries(parents)]
}

function typeJson({ id, availableInstances, deviceApi, name, description }: OfferedType): unknown {
  return {
    [id]: {
      available_instances: availableInstances,
      ...(description === '' ? {} : { description }),
      device_api: deviceApi,
      ...(name === '' ? {} : { name }),
    },
  }
}

function typesText(offered: ReadonlyMap<string, readonly OfferedType[]>): string {
  const lines = [...offered].flatMap(([parent, list]) => [
    parent,
    ...list.flatMap(({ id, availableInstances, deviceApi, name, description }) => [
      `  ${id}`,
      `    Available instances: ${availableInstances}`,
      `    Device API: ${deviceApi}`,
      ...(name === '' ? [] : [`    Name: ${name}`]),
      ...(description === '' ? [] : [`    Description: ${description}`]),
    ]),
  ])
  return lines.join('\n')
}
