/** Nesting of the software IOMMU: guests' page tables that are walked, commands that are done. */
import { VfioError } from '../errors.ts'
import type { NativeCommandQueue } from '../native/addon-nesting.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import {
  IOMMU_HW_QUEUE_TYPE_SOFTWARE,
  IOMMU_HW_QUEUES_SOFTWARE,
  IOMMU_HWPT_DATA_SOFTWARE,
  IOMMU_HWPT_INVALIDATE_DATA_SOFTWARE,
  IOMMU_HWPT_SOFTWARE_ACCESSED_DIRTY,
  IOMMU_SOFTWARE_ERROR_ADDRESS,
  IOMMU_SOFTWARE_ERROR_NO_DEVICE,
  IOMMU_SOFTWARE_ERROR_UNKNOWN,
  IOMMU_VEVENTQ_TYPE_SOFTWARE,
  IOMMU_VIOMMU_INVALIDATE_DATA_SOFTWARE,
  IOMMU_VIOMMU_TYPE_SOFTWARE,
} from '../uapi/constants.ts'
import type { ErrnoName } from '../uapi/errno.ts'
import {
  iommuHwptInvalidateSoftware,
  iommuHwptSoftware,
  iommuViommuSoftware,
  iommuViommuSoftwareCommand,
} from '../uapi/structs.ts'
import {
  invalidateEach,
  type NestedTable,
  type Nesting,
  type ParentTable,
  type RegisterPage,
  type VirtualIommu,
} from './nesting.ts'
import { giveData, giveEntryU32, takeData, takeEntry, type UserArray, type UserData } from './user-data.ts'

const HWPT_ALLOC = 'IOMMU_HWPT_ALLOC'
const INVALIDATE = 'IOMMU_HWPT_INVALIDATE'
const VIOMMU_ALLOC = 'IOMMU_VIOMMU_ALLOC'
const QUEUE_ALLOC = 'IOMMU_HW_QUEUE_ALLOC'

/** Registers of one queue: producer, consumer, error. */
const QUEUE_STRIDE = 16
const [PRODUCER, CONSUMER, ERROR] = [0, 4, 8]
const PAGE = 4096n

/** The nesting that a machine's software IOMMU does. */
export const softwareNesting: Nesting = {
  viommuType: IOMMU_VIOMMU_TYPE_SOFTWARE,
  nest: makeTable,
  makeViommu(data, parent, mmap) {
    const viommu = new SoftwareViommu(parent)
    if (data === undefined) return viommu
    const taken = takeData(data, IOMMU_VIOMMU_TYPE_SOFTWARE, iommuViommuSoftware, 24, VIOMMU_ALLOC)
    if (taken.flags !== 0 || taken.__reserved !== 0) {
      throw new VfioError('EOPNOTSUPP', VIOMMU_ALLOC, { reason: 'unknown flags' })
    }
    const { length } = viommu.registers
    const answer = { ...taken, outMmapOffset: mmap(viommu.registers), outMmapLength: length }
    giveData(data, iommuViommuSoftware.bytes(answer), VIOMMU_ALLOC)
    return viommu
  },
}

function makeTable(data: UserData, parent: ParentTable): NestedTable {
  if (data.type !== IOMMU_HWPT_DATA_SOFTWARE) {
    throw new VfioError('EOPNOTSUPP', HWPT_ALLOC, { reason: `data of kind 0x${data.type.toString(16)} is another's` })
  }
  const { root, levels, flags } = takeData(data, IOMMU_HWPT_DATA_SOFTWARE, iommuHwptSoftware, 16, HWPT_ALLOC)
  if ((flags & ~IOMMU_HWPT_SOFTWARE_ACCESSED_DIRTY) !== 0) {
    throw new VfioError('EOPNOTSUPP', HWPT_ALLOC, { reason: 'unknown flags of the page table' })
  }
  const accessedDirty = (flags & IOMMU_HWPT_SOFTWARE_ACCESSED_DIRTY) !== 0
  return new SoftwareTable({ root, levels, accessedDirty }, parent)
}

/** A guest's page table. */
export class SoftwareTable implements NestedTable {
  readonly native

  /** @throws {VfioError} EINVAL a root or number of levels that cannot be */
  constructor(options: { root: bigint; levels: number; accessedDirty: boolean }, parent: ParentTable) {
    this.native = syscall(
      HWPT_ALLOC,
      () => new (addon().iommufd.NestedTable)(options, parent.native, parent.ioas.native),
    )
  }

  invalidate(array: UserArray) {
    if (array.type !== IOMMU_HWPT_INVALIDATE_DATA_SOFTWARE) return { done: 0, error: wrongKind(array) }
    const codec = iommuHwptInvalidateSoftware
    return invalidateEach(array, (at) => {
      const entry = takeEntry(array, at, array.type, codec, codec.size, INVALIDATE)
      const refuse = (error: number, code: ErrnoName) => {
        giveEntryU32(array, at, codec.fields['hw_error']?.offset ?? 0, error, INVALIDATE)
        throw new VfioError(code, INVALIDATE, { address: entry.addr, reason: `entry ${at} is refused` })
      }
      if (entry.flags !== 0) refuse(IOMMU_SOFTWARE_ERROR_UNKNOWN, 'EOPNOTSUPP')
      try {
        this.native.invalidate(entry.addr, entry.npages)
      } catch {
        refuse(IOMMU_SOFTWARE_ERROR_ADDRESS, 'EINVAL')
      }
    })
  }
}

class SoftwareViommu implements VirtualIommu {
  readonly eventType = IOMMU_VEVENTQ_TYPE_SOFTWARE
  readonly queueType = IOMMU_HW_QUEUE_TYPE_SOFTWARE
  readonly native
  readonly registers: RegisterPage
  readonly #queues = new Map<number, NativeCommandQueue>()

  constructor(parent: ParentTable) {
    this.native = syscall(VIOMMU_ALLOC, () => new (addon().iommufd.VirtualIommu)(parent.native, parent.ioas.native))
    this.registers = {
      length: PAGE,
      read: (offset) => this.#read(offset),
      write: (offset, value) => this.#write(offset, value),
    }
  }

  nest(data: UserData, parent: ParentTable): NestedTable {
    const table = makeTable(data, parent)
    if (table.native !== undefined) this.native.addTable(table.native)
    return table
  }

  invalidate(array: UserArray) {
    if (array.type !== IOMMU_VIOMMU_INVALIDATE_DATA_SOFTWARE) return { done: 0, error: wrongKind(array) }
    const codec = iommuViommuSoftwareCommand
    return invalidateEach(array, (at) => {
      const command = takeEntry(array, at, array.type, codec, codec.size, INVALIDATE)
      const error = this.native.execute(codec.bytes(command))
      if (error === 0) return
      const code = error === IOMMU_SOFTWARE_ERROR_UNKNOWN ? 'EOPNOTSUPP' : 'EINVAL'
      const what = error === IOMMU_SOFTWARE_ERROR_NO_DEVICE ? 'names no device' : `fails with error ${error}`
      throw new VfioError(code, INVALIDATE, { address: command.addr, reason: `command ${at} ${what}` })
    })
  }

  makeQueue(index: number, base: bigint, length: bigint) {
    if (index >= IOMMU_HW_QUEUES_SOFTWARE) {
      throw new VfioError('EINVAL', QUEUE_ALLOC, { reason: `there are ${IOMMU_HW_QUEUES_SOFTWARE} queues` })
    }
    if (this.#queues.has(index)) throw new VfioError('EEXIST', QUEUE_ALLOC, { reason: `queue ${index} exists` })
    const queue = syscall(QUEUE_ALLOC, () => new (addon().iommufd.CommandQueue)(this.native, index, base, length), {
      address: base,
    })
    this.#queues.set(index, queue)
    return {
      destroy: () => {
        this.#queues.delete(index)
        queue.close()
      },
    }
  }

  #read(offset: number): number {
    const status = this.#queues.get(Math.floor(offset / QUEUE_STRIDE))?.status()
    if (status === undefined) return 0
    const register = offset % QUEUE_STRIDE
    if (register === PRODUCER) return status.producer
    return register === CONSUMER ? status.consumer : register === ERROR ? status.error : 0
  }

  #write(offset: number, value: number): void {
    const queue = this.#queues.get(Math.floor(offset / QUEUE_STRIDE))
    if (offset % QUEUE_STRIDE === PRODUCER) queue?.ring(value)
    else if (offset % QUEUE_STRIDE === ERROR && value === 0) queue?.resume()
  }
}

function wrongKind(array: UserArray): VfioError {
  return new VfioError('EINVAL', INVALIDATE, { reason: `entries of kind 0x${array.type.toString(16)} are another's` })
}
