/** The typed handle of a device that is bound to an iommufd. */
import { Device } from '../device/device-handle.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { flag, record, u32, u64, type U64 } from '../shape.ts'
import {
  IOMMU_HW_CAP_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_HWPT_FAULT_ID_VALID,
} from '../uapi/constants.ts'
import { Ioas } from './address-space.ts'
import type { CdevSession } from './cdev-session.ts'
import { IommufdDevice } from './device.ts'
import type { FaultQueue } from './fault-queue.ts'
import { compatible } from './hardware.ts'
import { HwptNested } from './hwpt-nested.ts'
import { HwptPaging } from './hwpt.ts'
import { NestedHwpt } from './nested-page-table.ts'
import { Hwpt } from './page-table.ts'
import { PageRequestQueue } from './page-request-queue.ts'
import { SoftwareTable, softwareNesting } from './software-nesting.ts'

const ATTACH = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'

/** An open device whose DMA an iommufd decides about. Got from `iommufd.bind(name)`. */
export class CdevDevice extends Device {
  readonly #cdev: CdevSession

  /** @internal */
  constructor(cdev: CdevSession) {
    super(cdev.session)
    this.#cdev = cdev
    this.once('close', () => cdev.closed())
  }

  /** Its id within the iommufd; 0 once it is closed. */
  get id(): number {
    return this.closed ? 0 : this.#cdev.bound.id
  }

  /**
   * Attaches it, or one of its PASIDs, to an address space or a page table, or moves it there; returns the id of what it is
   * attached to.
   * @throws {VfioError} EBADF closed, EADDRINUSE what is mapped is out of its reach, EINVAL, EFAULT, ENOMEM
   */
  attach(target: Ioas | Hwpt | NestedHwpt, options: { pasid?: number } = {}): number {
    if (!(target instanceof Ioas || target instanceof Hwpt || target instanceof NestedHwpt)) {
      throw invalidArgType('target', 'an Ioas, a Hwpt or a NestedHwpt', target)
    }
    const pasid = u32(record(options, 'options').pasid ?? 0, 'options.pasid')
    if (target.id === 0) throw new VfioError('EBADF', ATTACH, { reason: 'what it is to be attached to was destroyed' })
    this.session.ops(ATTACH)
    if (pasid !== 0) return this.#cdev.bound.attachPasid(pasid, target.id)
    return this.#cdev.bound.attach(target.id)
  }

  /** Detaches it, or one of its PASIDs (idempotent): its DMA leads nowhere. @throws {VfioError} EBADF closed */
  detach(options: { pasid?: number } = {}): void {
    const pasid = u32(record(options, 'options').pasid ?? 0, 'options.pasid')
    this.session.ops('VFIO_DEVICE_DETACH_IOMMUFD_PT')
    if (pasid !== 0) this.#cdev.bound.detachPasid(pasid)
    else this.#cdev.bound.detach()
  }

  /** What the IOMMU in front of it can do (`IOMMU_GET_HW_INFO`). @throws {VfioError} EBADF, ENOENT a mediated device */
  hwInfo(): HardwareInfo {
    const { info, capabilities, maxPasidLog2 } = this.#open('IOMMU_GET_HW_INFO').device.hardware
    const dirtyTracking = (capabilities & IOMMU_HW_CAP_DIRTY_TRACKING) !== 0n
    return { type: info.type, data: info.data.slice(), capabilities, dirtyTracking, pasidWidth: maxPasidLog2 }
  }

  /**
   * Makes a page table that this device can be attached to (`IOMMU_HWPT_ALLOC`).
   * @throws {VfioError} EBADF, ENOENT a mediated device, EOPNOTSUPP the IOMMU cannot do it, EADDRINUSE
   */
  allocHwpt(ioas: Ioas, options: HwptOptions = {}): Hwpt {
    const operation = 'IOMMU_HWPT_ALLOC'
    if (!(ioas instanceof Ioas)) throw invalidArgType('ioas', 'an Ioas', ioas)
    const { context, device } = this.#open(operation)
    if (ioas.id === 0) throw new VfioError('EBADF', operation, { reason: 'the address space was destroyed' })
    const faults = queueOf(options.faults, operation)
    const flags =
      (flag(options.dirtyTracking, 'dirtyTracking', false) ? IOMMU_HWPT_ALLOC_DIRTY_TRACKING : 0) |
      (flag(options.nestParent, 'nestParent', false) ? IOMMU_HWPT_ALLOC_NEST_PARENT : 0) |
      (flag(options.pasid, 'pasid', false) ? IOMMU_HWPT_ALLOC_PASID : 0) |
      (faults === undefined ? 0 : IOMMU_HWPT_FAULT_ID_VALID)
    const hwpt = new HwptPaging(ioas.object, device.hardware, flags, false)
    hwpt.enter()
    if (faults !== undefined) hwpt.reportTo(faults)
    return new Hwpt(context.objects.add(hwpt), context)
  }

  /**
   * Puts a page table that a guest keeps in its memory on top of one that maps that memory (`IOMMU_HWPT_ALLOC`).
   * @throws {VfioError} EBADF, ENOENT a mediated device, EOPNOTSUPP the IOMMU cannot do it, EINVAL `parent` was not made with
   * `nestParent`, or such a table cannot be
   */
  allocNestedHwpt(parent: Hwpt, options: NestedHwptOptions): NestedHwpt {
    const operation = 'IOMMU_HWPT_ALLOC'
    if (!(parent instanceof Hwpt)) throw invalidArgType('parent', 'a Hwpt', parent)
    const { root, levels, accessedDirty, pasid, faults } = record(options, 'options')
    const wanted = {
      root: u64(root, 'options.root'),
      levels: u32(levels ?? 4, 'options.levels'),
      accessedDirty: flag(accessedDirty, 'options.accessedDirty', false),
    }
    const { context, device } = this.#open(operation)
    const queue = queueOf(faults, operation)
    if (parent.id === 0) throw new VfioError('EBADF', operation, { reason: 'the parent was destroyed' })
    if (device.hardware.nesting !== softwareNesting) {
      throw new VfioError('EOPNOTSUPP', operation, {
        reason: 'the IOMMU nests no page tables',
        remedy: "make the machine with iommu: { kind: 'software' }",
      })
    }
    if (!parent.object.nestParent || !compatible(parent.object.hardware, device.hardware)) {
      throw new VfioError('EINVAL', operation, { reason: 'the parent was not made with nestParent' })
    }
    const table = new SoftwareTable(wanted, parent.object)
    const flags = flag(pasid, 'options.pasid', false) ? IOMMU_HWPT_ALLOC_PASID : 0
    const nested = new HwptNested(parent.object, undefined, table, flags)
    if (queue !== undefined) nested.reportTo(queue)
    return new NestedHwpt(context.objects.add(nested), context)
  }

  #open(operation: string) {
    this.session.ops(operation)
    const { context, id } = this.#cdev.bound
    return { context, device: context.objects.getOf(id, IommufdDevice, operation) }
  }
}

/** What a page table is to be able to do. */
export interface HwptOptions {
  /** It tells which pages devices write; default false. */
  dirtyTracking?: boolean
  /** Guests' page tables can be put on top of it; default false. */
  nestParent?: boolean
  /** It can be attached to PASIDs, and beside them; default false. */
  pasid?: boolean
  /** Where devices ask for pages that are missing; absent: they are refused. */
  faults?: PageRequestQueue
}

/** A page table in the memory of a guest. */
export interface NestedHwptOptions {
  /** Guest physical address of the topmost page. */
  root: U64
  /** 3, 4 or 5; default 4. */
  levels?: number
  /** The walk notes in the entries what was read and written; default false. */
  accessedDirty?: boolean
  /** It can be attached to PASIDs, and beside them; default false. */
  pasid?: boolean
  /** Where devices ask for pages that are missing; absent: they are refused. */
  faults?: PageRequestQueue
}

/** What an IOMMU tells of itself. */
export interface HardwareInfo {
  /** `IOMMU_HW_INFO_TYPE_*`. */
  type: number
  /** The structure of that type. */
  data: Uint8Array
  /** `IOMMU_HW_CAP_*`. */
  capabilities: bigint
  dirtyTracking: boolean
  /** Bits of a PASID; 0: there are none. */
  pasidWidth: number
}

function queueOf(queue: PageRequestQueue | undefined, operation: string): FaultQueue | undefined {
  if (queue === undefined) return undefined
  if (!(queue instanceof PageRequestQueue)) throw invalidArgType('options.faults', 'a PageRequestQueue', queue)
  if (queue.id === 0) throw new VfioError('EBADF', operation, { reason: 'the queue was destroyed' })
  return queue.object
}
