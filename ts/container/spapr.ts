/** The typed handle of an sPAPR IOMMU: windows, registered memory, error handling. */
import { invalidArgType, invalidArgValue, outOfRange, VfioError } from '../errors.ts'
import type { Task } from '../device/task.ts'
import { HostMemory } from '../memory/host-memory.ts'
import { record, u32, u64, type U64 } from '../shape.ts'
import {
  VFIO_EEH_PE_CONFIGURE,
  VFIO_EEH_PE_DISABLE,
  VFIO_EEH_PE_ENABLE,
  VFIO_EEH_PE_GET_STATE,
  VFIO_EEH_PE_INJECT_ERR,
  VFIO_EEH_PE_RESET_DEACTIVATE,
  VFIO_EEH_PE_RESET_FUNDAMENTAL,
  VFIO_EEH_PE_RESET_HOT,
  VFIO_EEH_PE_UNFREEZE_DMA,
  VFIO_EEH_PE_UNFREEZE_IO,
} from '../uapi/constants.ts'
import type { SpaprControl, SpaprInfo, SpaprWindow } from './spapr-control.ts'

/** Memory to register: all of it, or a part of whole system pages. */
export interface RegisteredPart {
  memory: HostMemory
  /** First byte of it; default 0. */
  offset?: U64
  /** Length in bytes; default up to the end. */
  length?: U64
}

/** A window to create. */
export interface WindowOptions {
  /** Size of its pages in bytes. */
  pageSize: U64
  /** Size in bytes, a power of two. */
  size: U64
  /** Levels of its table; default 1. */
  levels?: number
}

/** What is the matter with the endpoints of a container. */
export type EehStateName = 'normal' | 'reset' | 'stopped' | 'stopped-dma' | 'unavailable'

const STATES: Readonly<Record<number, EehStateName>> = {
  0: 'normal',
  1: 'reset',
  2: 'stopped',
  4: 'stopped-dma',
  5: 'unavailable',
}
const PARTIAL = 'VFIO_IOMMU_SPAPR_REGISTER_MEMORY'

/** What only an sPAPR IOMMU has. Got from `container.spapr`. */
export class Spapr {
  /** Error handling (EEH). */
  readonly eeh: Eeh
  readonly #control: SpaprControl
  readonly #task: Task

  /** @internal */
  constructor(control: SpaprControl, task: Task) {
    this.#control = control
    this.#task = task
    this.eeh = new Eeh(control, task)
  }

  /** What the IOMMU offers (`VFIO_IOMMU_SPAPR_TCE_GET_INFO`). */
  info(): SpaprInfo {
    return this.#control.info()
  }

  /** The windows that there are; the default one comes with the first mapping. */
  get windows(): readonly SpaprWindow[] {
    return this.#control.listWindows()
  }

  /**
   * Lets mappings be made, charging the whole 32-bit window to the process (`VFIO_IOMMU_ENABLE`, version 1).
   * @throws {VfioError} ENOTTY version 2, EBUSY enabled, EPERM another process uses the container, ENOMEM over the limit
   */
  enable(): void {
    this.#control.enable(this.#task.mm)
  }

  /** Gives that charge back; entries stay (`VFIO_IOMMU_DISABLE`, version 1). @throws {VfioError} ENOTTY version 2, EPERM */
  disable(): void {
    this.#control.disable(this.#task.mm)
  }

  /**
   * Pins and charges memory, so that it can be mapped (`VFIO_IOMMU_SPAPR_REGISTER_MEMORY`, version 2). What another container
   * of the process registered as well is shared, and not charged again.
   * @throws {VfioError} ENOTTY version 1, EPERM, EINVAL not whole system pages or overlaps, EBUSY registered already, ENOMEM over
   * the limit, EFAULT the memory is gone or not writable
   */
  registerMemory(part: RegisteredPart): void {
    const { vaddr, size } = this.#place(part)
    const partial = this.#control.registerMemory(this.#task.mm, vaddr, size)
    if (partial === 0) return
    throw new VfioError('EFAULT', PARTIAL, {
      address: vaddr,
      reason: `only ${partial} pages are there, and nothing was registered`,
    })
  }

  /**
   * Gives memory up (`VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY`, version 2): exactly what was registered. Entries that still lead
   * there keep it pinned and charged.
   * @throws {VfioError} ENOTTY version 1, EPERM, EINVAL not whole pages, ENOENT not registered so
   */
  unregisterMemory(part: RegisteredPart): void {
    const { vaddr, size } = this.#place(part)
    this.#control.unregisterMemory(this.#task.mm, vaddr, size)
  }

  /**
   * Creates a window (`VFIO_IOMMU_SPAPR_TCE_CREATE`, version 2), whose table is charged; returns its first address, which the
   * platform chooses.
   * @throws {VfioError} ENOTTY version 1, EPERM, ENOSPC both are taken, EINVAL page, size or levels, ENOMEM, ENODEV
   */
  createWindow(options: WindowOptions): bigint {
    const pageSize = u64(record(options, 'options').pageSize, 'pageSize')
    if (pageSize === 0n || (pageSize & (pageSize - 1n)) !== 0n) {
      throw outOfRange('pageSize', 'a power of two', pageSize)
    }
    return this.#control.createWindow(this.#task.mm, {
      pageShift: pageSize.toString(2).length - 1,
      size: u64(options.size, 'size'),
      levels: u32(options.levels ?? 1, 'levels'),
    })
  }

  /** Removes the window that contains an address (`VFIO_IOMMU_SPAPR_TCE_REMOVE`, version 2). @throws {VfioError} ENOTTY, EPERM, EINVAL */
  removeWindow(start: U64): void {
    this.#control.removeWindow(this.#task.mm, u64(start, 'start'))
  }

  #place(part: RegisteredPart): { vaddr: bigint; size: bigint } {
    const { memory } = record(part, 'part')
    if (!(memory instanceof HostMemory)) throw invalidArgType('memory', 'a HostMemory', memory)
    const length = BigInt(memory.byteLength)
    const offset = u64(part.offset ?? 0n, 'offset')
    if (offset > length) throw outOfRange('offset', `within the memory of ${length} bytes`, offset)
    const size = u64(part.length ?? length - offset, 'length')
    if (size > length - offset) throw outOfRange('length', `within the memory of ${length} bytes`, size)
    return { vaddr: this.#task.place(memory) + offset, size }
  }
}

/** Error handling of the endpoints in a container (`VFIO_EEH_PE_OP`). Every method throws ENODEV where the platform has none. */
export class Eeh {
  readonly #control: SpaprControl
  readonly #task: Task

  /** @internal */
  constructor(control: SpaprControl, task: Task) {
    this.#control = control
    this.#task = task
  }

  /** Turns error handling on. @throws {VfioError} ENODEV, EPERM */
  enable(): void {
    this.#do(VFIO_EEH_PE_ENABLE)
  }

  /** Turns error handling off, which changes nothing. @throws {VfioError} ENODEV, EPERM */
  disable(): void {
    this.#do(VFIO_EEH_PE_DISABLE)
  }

  /** What is the matter. @throws {VfioError} ENODEV, EPERM */
  state(): EehStateName {
    return STATES[this.#do(VFIO_EEH_PE_GET_STATE)] ?? 'unavailable'
  }

  /** Lets registers answer again. @throws {VfioError} ENODEV, EPERM, EIO under reset */
  unfreezeIo(): void {
    this.#do(VFIO_EEH_PE_UNFREEZE_IO)
  }

  /** Lets DMA pass again. @throws {VfioError} ENODEV, EPERM, EIO under reset */
  unfreezeDma(): void {
    this.#do(VFIO_EEH_PE_UNFREEZE_DMA)
  }

  /** Puts the devices under reset, until {@link deactivateReset}. @throws {VfioError} ENODEV, EPERM, EIO no such reset */
  reset(kind: 'hot' | 'fundamental'): void {
    if (kind !== 'hot' && kind !== 'fundamental') throw invalidArgValue('kind', `must be 'hot' or 'fundamental'`)
    this.#do(kind === 'hot' ? VFIO_EEH_PE_RESET_HOT : VFIO_EEH_PE_RESET_FUNDAMENTAL)
  }

  /** Ends a reset, and whatever was frozen. @throws {VfioError} ENODEV, EPERM */
  deactivateReset(): void {
    this.#do(VFIO_EEH_PE_RESET_DEACTIVATE)
  }

  /** Configures the bridges above the devices. @throws {VfioError} ENODEV, EPERM */
  configure(): void {
    this.#do(VFIO_EEH_PE_CONFIGURE)
  }

  /**
   * Makes an error, which freezes the devices: 32-bit (0) or 64-bit (1), of a function 0 to 19 (`EEH_ERR_FUNC_*`).
   * @throws {VfioError} ENODEV, EPERM, EINVAL no such function, ERANGE no such type, EIO the firmware does not
   */
  inject(error: { type: 0 | 1; func: number; addr?: U64; mask?: U64 }): void {
    const { type, func, addr = 0n, mask = 0n } = record(error, 'error')
    const checked = {
      type: u32(type, 'type'),
      func: u32(func, 'func'),
      addr: u64(addr, 'addr'),
      mask: u64(mask, 'mask'),
    }
    this.#control.eeh(this.#task.mm, VFIO_EEH_PE_INJECT_ERR, () => checked)
  }

  #do(op: number): number {
    return this.#control.eeh(this.#task.mm, op)
  }
}
