/** What the mdev core needs of the machine it is part of. */
import type { VfioRegistry } from '../group/vfio-registry.ts'
import type { SysfsTree } from '../sysfs/tree.ts'

/** The parts of a machine that mediated devices show up in. */
export interface MdevMachine {
  readonly sysfs: SysfsTree
  /** Gives devices their group and their `vfioN`. */
  readonly registry: VfioRegistry
}

/** Directory of the mdev bus. */
export const MDEV_BUS = '/sys/bus/mdev'

/** Directory with a link to each parent. */
export const MDEV_CLASS = '/sys/class/mdev_bus'
