/** IOMMU groups as a machine's sysfs shows them, simulated or real. */
import { GroupExplanation, type GroupMember } from '../../index.ts'
import { listOrNone, type MachineTree, realpathOrNone } from './tree.ts'

const GROUPS = '/sys/kernel/iommu_groups'
/** Drivers beside VFIO's that leave the DMA of their devices alone. */
const HARMLESS = new Set(['pci-stub', 'pcieport', 'shpchp'])

/** All groups, or those asked for, each with its verdict. */
export async function explainGroups(tree: MachineTree, wanted?: readonly number[]): Promise<GroupExplanation[]> {
  const names = (await listOrNone(tree, GROUPS)).filter((name) => /^[0-9]+$/.test(name))
  const numbers = names.map(Number).sort((a, b) => a - b)
  const chosen = numbers.filter((number) => wanted === undefined || wanted.includes(number))
  return Promise.all(chosen.map((number) => explainGroup(tree, number)))
}

/** The group of a device by name, if it is in one. */
export async function groupOf(tree: MachineTree, device: string): Promise<number | undefined> {
  for (const { group, members } of await explainGroups(tree)) {
    if (members.some(({ name }) => name === device)) return group
  }
  return undefined
}

async function explainGroup(tree: MachineTree, number: number): Promise<GroupExplanation> {
  const names = await listOrNone(tree, `${GROUPS}/${number}/devices`)
  const members = await Promise.all(names.map((name) => memberOf(tree, `${GROUPS}/${number}/devices/${name}`, name)))
  const viable = members.every(({ driver, driverManagedDma }) => driver === undefined || driverManagedDma)
  const held = new Set(members.filter(({ driver }) => isVfio(driver)).map(({ name }) => name))
  return new GroupExplanation({ number, members }, viable, (name) => held.has(name))
}

async function memberOf(tree: MachineTree, link: string, name: string): Promise<GroupMember> {
  const path = (await realpathOrNone(tree, link)) ?? link
  const driver = (await realpathOrNone(tree, `${path}/driver`))?.split('/').at(-1)
  // Mediated devices are driven by VFIO, whatever their driver is called.
  const mediated = (await realpathOrNone(tree, `${path}/mdev_type`)) !== undefined
  return {
    name,
    path,
    driver,
    driverManagedDma: driver !== undefined && (mediated || isVfio(driver) || HARMLESS.has(driver)),
  }
}

/** Whether a driver is one of VFIO's: `vfio-pci`, and those of vendors, such as `mlx5_vfio_pci`. */
function isVfio(driver: string | undefined): boolean {
  return driver !== undefined && /(^|[-_])vfio([-_]|$)/.test(driver)
}
