/** The typed handle of an iommufd. */
import type { Task } from '../device/task.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { FaultLog } from '../container/fault-log.ts'
import { VfioError } from '../errors.ts'
import type { GroupContainer, VfioGroup } from '../group/vfio-group.ts'
import { text } from '../shape.ts'
import { Ioas } from './address-space.ts'
import { CdevDevice } from './cdev-device.ts'
import { CdevSession } from './cdev-session.ts'
import { CompatContainer } from './compat-container.ts'
import type { IommufdContext } from './context.ts'
import { FaultQueue } from './fault-queue.ts'
import type { MachineIommu } from './hardware.ts'
import { PageRequestQueue } from './page-request-queue.ts'

/** What an iommufd needs of its machine. */
export interface IommufdMachine {
  readonly iommu: MachineIommu
  /** A device by name, or by that of its file (`vfio0`). @throws {VfioError} ENOENT */
  device(name: string): { device: VfioDevice; group: VfioGroup }
}

/** An open iommufd: address spaces, and the devices bound to it. Bound devices keep what they use when it is closed. */
export class Iommufd {
  /**
   * What takes groups in, in a container's place.
   * @internal
   */
  readonly groupContainer: GroupContainer
  readonly #context: IommufdContext
  readonly #task: Task
  readonly #machine: IommufdMachine
  #faults: FaultLog | undefined
  #closed = false

  /** @internal */
  constructor(context: IommufdContext, task: Task, machine: IommufdMachine) {
    this.#context = context
    this.#task = task
    this.#machine = machine
    this.groupContainer = new CompatContainer(context, machine.iommu)
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed
  }

  /** Makes an address space (`IOMMU_IOAS_ALLOC`). @throws {VfioError} EBADF closed */
  allocIoas(): Ioas {
    return new Ioas(this.#open('IOMMU_IOAS_ALLOC').allocIoas(), this.#context, this.#task)
  }

  /** Makes a queue of page requests (`IOMMU_FAULT_QUEUE_ALLOC`). @throws {VfioError} EBADF closed */
  allocFaultQueue(): PageRequestQueue {
    const context = this.#open('IOMMU_FAULT_QUEUE_ALLOC')
    return new PageRequestQueue(context.objects.add(new FaultQueue()), context)
  }

  /** The address space in a container's place, once a group was put in (`IOMMU_VFIO_IOAS`). @throws {VfioError} ENODEV, EBADF */
  compatIoas(): Ioas {
    const object = this.#open('IOMMU_VFIO_IOAS').requireCompat('IOMMU_VFIO_IOAS')
    return new Ioas(object, this.#context, this.#task)
  }

  /**
   * Opens a device by its own file and binds it (`VFIO_DEVICE_BIND_IOMMUFD`).
   * @throws {VfioError} EBADF closed, ENOENT no such device, EPERM a host driver uses the DMA of its group, EBUSY its group is open,
   * EINVAL it is open already
   */
  bind(name: string): CdevDevice {
    const context = this.#open('VFIO_DEVICE_BIND_IOMMUFD')
    const { device, group } = this.#machine.device(text(name, 'name'))
    const cdev = new CdevSession(device, group, this.#machine.iommu)
    cdev.bind(() => context)
    return new CdevDevice(cdev)
  }

  /** Refused DMA of the devices bound to it. @throws {VfioError} EBADF closed */
  get faults(): FaultLog {
    this.#faults ??= new FaultLog(this.#open('faults').faults)
    return this.#faults
  }

  /** Closes it (idempotent). What bound devices use stays until they are closed. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#context.release()
  }

  /** As `close()`. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(operation: string): IommufdContext {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the iommufd is closed' })
    return this.#context
  }
}
