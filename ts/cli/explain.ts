/** `vfio explain`: which groups there are, and why they can or cannot be used. */
import { existsSync } from 'node:fs'
import type { GroupExplanation } from '../index.ts'
import { type Call, type Command, EXIT, MACHINE_OPTIONS, UsageError } from './command.ts'
import { openMachine } from './machine/choice.ts'
import { FolderTree } from './machine/folder-tree.ts'
import { explainGroups, groupOf } from './machine/groups.ts'
import { SoftwareTree } from './machine/software-tree.ts'
import type { MachineTree } from './machine/tree.ts'
import { answer, paint } from './output.ts'
import { machineOf } from './topology-file.ts'

export const explain: Command = {
  name: 'explain',
  summary: "tells of a machine's IOMMU groups, which are viable, and what stands in the way",
  operands: '[TOPOLOGY]',
  description: [
    "Looks at the machine of a topology file; without one, at the host that is named, or at this computer's own sysfs. With --group or --device the exit code tells whether that group is viable.",
  ],
  options: [
    { name: 'group', short: 'g', value: 'N', summary: 'this group only' },
    { name: 'device', value: 'NAME', summary: 'the group of this device only' },
    ...MACHINE_OPTIONS,
  ],
  async run(call) {
    const [file] = call.operands
    if (file !== undefined) {
      using host = await machineOf(file)
      return await tell(call, new SoftwareTree(host))
    }
    if (call.text('host') === undefined && call.text('root') === undefined) return tell(call, new FolderTree('/'))
    using machine = await openMachine(call)
    return await tell(call, machine.tree)
  },
}

async function tell(call: Call, tree: MachineTree): Promise<number> {
  const device = call.text('device')
  const asked = device === undefined ? call.count('group') : await groupOf(tree, device)
  if (device !== undefined && asked === undefined)
    throw new UsageError(`${device} is in no IOMMU group of ${tree.place}`)
  const groups = await explainGroups(tree, asked === undefined ? undefined : [asked])
  if (asked !== undefined && groups.length === 0) throw new UsageError(`${tree.place} has no IOMMU group ${asked}`)
  answer(call.json, groups, textOf)
  return asked === undefined || groups[0]?.viable === true ? EXIT.done : EXIT.no
}

function textOf(groups: readonly GroupExplanation[]): string {
  if (groups.length === 0) {
    const hint = existsSync('/sys/kernel/iommu_groups') ? 'its IOMMU is off or missing' : 'it has no IOMMU support'
    return `the machine has no IOMMU groups: ${hint}; a topology file or a host (vfio host) has some`
  }
  return groups.map((group) => coloured(group)).join('\n')
}

function coloured(group: GroupExplanation): string {
  const [verdict = '', ...rest] = group.toString().split('\n')
  return [paint(process.stdout, group.viable ? 'green' : 'yellow', verdict), ...rest].join('\n')
}
