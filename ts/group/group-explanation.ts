/** Why a group can or cannot be used, in words: each device, what it is bound to, and what to do about it. */
import { inspect } from 'node:util'
import type { GroupMember, IommuGroup } from './iommu-group.ts'

/** A device of the group. */
export interface ExplainedMember {
  name: string
  /** Driver that it is bound to, if any. */
  driver: string | undefined
  /** `vfio`: a VFIO driver holds it; `free`: no driver, or one that does no DMA; `host`: a host driver uses its DMA. */
  state: 'vfio' | 'free' | 'host'
  /** Shell commands that take the device out of the way. */
  remedy: readonly string[]
}

/** What a group consists of, and whether it is viable. Prints as text. */
export class GroupExplanation {
  readonly group: number
  /** Whether a user may have the group. */
  readonly viable: boolean
  readonly members: readonly ExplainedMember[]

  /** Looks at `group`; `held` tells whether a VFIO driver holds a device. */
  constructor(group: Pick<IommuGroup, 'number' | 'members'>, viable: boolean, held: (name: string) => boolean) {
    this.group = group.number
    this.viable = viable
    this.members = group.members.map((member) => explainMember(member, held(member.name)))
  }

  /** The devices that stand in the way. */
  get blockers(): readonly ExplainedMember[] {
    return this.members.filter((member) => member.state === 'host')
  }

  /** The whole as text, a line for each device and for each remedy. */
  toString(): string {
    const verdict = this.viable ? 'is viable' : 'is not viable: host drivers use the DMA of some of its devices'
    const lines = [`group ${this.group} ${verdict}`]
    const width = Math.max(0, ...this.members.map((member) => member.name.length))
    for (const { name, driver, state, remedy } of this.members) {
      lines.push(`  ${name.padEnd(width)}  ${describe(driver, state)}`)
      for (const command of remedy) lines.push(`  ${''.padEnd(width)}    # ${command}`)
    }
    return lines.join('\n')
  }

  /** What `console.log` shows. */
  [inspect.custom](): string {
    return this.toString()
  }
}

function describe(driver: string | undefined, state: ExplainedMember['state']): string {
  if (state === 'host') return `bound to ${driver}, which uses its DMA: unbind it, or bind it to a VFIO driver`
  if (state === 'vfio') return `bound to ${driver ?? 'a VFIO driver'}: usable`
  return driver === undefined
    ? 'bound to no driver: does no harm'
    : `bound to ${driver}, which does no DMA: does no harm`
}

function explainMember(member: GroupMember, held: boolean): ExplainedMember {
  const { name, driver } = member
  if (held) return { name, driver, state: 'vfio', remedy: [] }
  if (driver === undefined || member.driverManagedDma) return { name, driver, state: 'free', remedy: [] }
  return { name, driver, state: 'host', remedy: [`echo ${name} > ${devicePath(member)}/driver/unbind`] }
}

/** The short way to a PCI device, as people write it. */
function devicePath({ name, path }: GroupMember): string {
  return path.includes('/pci') ? `/sys/bus/pci/devices/${name}` : path
}
