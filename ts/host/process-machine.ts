/** What a process needs of the machine that it runs on. */
import type { VfioContainer } from '../container/vfio-container.ts'
import type { VfioGroup } from '../group/vfio-group.ts'
import type { Task } from '../device/task.ts'
import type { Iommufd } from '../iommufd/iommufd.ts'
import type { VirtualMachineOptions } from '../kvm/virtual-machine.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import type { DevTree } from './dev-tree.ts'

/** A process, as the machine keeps it. */
export interface MachineProcess {
  readonly uid: number
  readonly mm: NativeAddressSpace
  exit(): void
}

/** The machine, as its processes see it. */
export interface ProcessMachine {
  readonly dev: DevTree
  /** Size of the system's pages in bytes. */
  readonly pageSize: number
  /** Number by which a request from a program of this machine is known here. */
  request(number: number): number
  /** Makes a container with nothing in it. */
  makeContainer(): VfioContainer
  /** Opens an iommufd for a process. @throws {VfioError} ENODEV the machine has none */
  makeIommufd(task: Task): Iommufd
  /** What the machine's virtual machines can do. */
  guests(): VirtualMachineOptions
  /** The VFIO group of that number. @throws {VfioError} ENOENT no device of it is bound to a VFIO driver */
  vfioGroup(number: number): VfioGroup
  /** A process has begun. */
  started(process: MachineProcess): void
  /** A process has ended. */
  exited(process: MachineProcess): void
}
