/** Nesting of the mock IOMMU of `IOMMU_TEST_CMD`: caches that can be compared; nothing is walked. */
import { VfioError } from '../errors.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import {
  IOMMU_HW_QUEUE_TYPE_SELFTEST,
  IOMMU_HWPT_DATA_SELFTEST,
  IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
  IOMMU_VEVENTQ_TYPE_SELFTEST,
  IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
  IOMMU_VIOMMU_TYPE_SELFTEST,
} from '../uapi/constants.ts'
import {
  iommuHwptInvalidateSelftest,
  iommuHwptSelftest,
  iommuViommuInvalidateSelftest,
  iommuViommuSelftest,
} from '../uapi/structs.ts'
import {
  invalidateEach,
  type NestedTable,
  type Nesting,
  type ParentTable,
  type RegisterPage,
  type VirtualIommu,
} from './nesting.ts'
import { giveData, takeData, takeEntry, type UserArray, type UserData } from './user-data.ts'

const HWPT_ALLOC = 'IOMMU_HWPT_ALLOC'
const INVALIDATE = 'IOMMU_HWPT_INVALIDATE'
const VIOMMU_ALLOC = 'IOMMU_VIOMMU_ALLOC'
const QUEUE_ALLOC = 'IOMMU_HW_QUEUE_ALLOC'
/** Entries of each cache. */
const ENTRIES = 4
const QUEUES = 2
/** What a device's cache holds at first. */
const DEVICE_CACHE = 0xb_addad
/** Flag: every entry is meant. */
const ALL = 1
const PAGE = 4096n

/** Caches of mock devices, by the object of the device. */
const deviceCaches = new WeakMap<object, Uint32Array>()

/** The cache of a mock device. */
export function deviceCache(device: object): Uint32Array {
  let cache = deviceCaches.get(device)
  if (cache === undefined) {
    cache = new Uint32Array(ENTRIES).fill(DEVICE_CACHE)
    deviceCaches.set(device, cache)
  }
  return cache
}

/** The nesting of mock devices. */
export const mockNesting: Nesting = {
  viommuType: IOMMU_VIOMMU_TYPE_SELFTEST,
  nest: makeTable,
  makeViommu(data, parent, mmap) {
    if (data === undefined) return new MockViommu(parent, 0)
    const taken = takeData(data, IOMMU_VIOMMU_TYPE_SELFTEST, iommuViommuSelftest, 8, VIOMMU_ALLOC)
    const viommu = new MockViommu(parent, taken.inData)
    const outMmapOffset = mmap(viommu.registers)
    const answer = { ...taken, outData: taken.inData, outMmapOffset, outMmapLength: viommu.registers.length }
    giveData(data, iommuViommuSelftest.bytes(answer), VIOMMU_ALLOC)
    return viommu
  },
}

/** A mock page table: a cache filled with what its user said. */
export class MockTable implements NestedTable {
  readonly cache: Uint32Array

  constructor(fill: number) {
    this.cache = new Uint32Array(ENTRIES).fill(fill)
  }

  invalidate(array: UserArray) {
    if (array.type !== IOMMU_HWPT_INVALIDATE_DATA_SELFTEST) return { done: 0, error: wrongKind(array) }
    const codec = iommuHwptInvalidateSelftest
    return invalidateEach(array, (at) => {
      const { flags, iotlbId } = takeEntry(array, at, array.type, codec, codec.size, INVALIDATE)
      checkEntry(flags, iotlbId)
      forget(this.cache, flags, iotlbId)
    })
  }
}

function makeTable(data: UserData): NestedTable {
  if (data.type !== IOMMU_HWPT_DATA_SELFTEST) {
    throw new VfioError('EOPNOTSUPP', HWPT_ALLOC, { reason: `data of kind 0x${data.type.toString(16)} is another's` })
  }
  return new MockTable(takeData(data, data.type, iommuHwptSelftest, 4, HWPT_ALLOC).iotlb)
}

class MockViommu implements VirtualIommu {
  readonly eventType = IOMMU_VEVENTQ_TYPE_SELFTEST
  readonly queueType = IOMMU_HW_QUEUE_TYPE_SELFTEST
  readonly native
  readonly registers: RegisterPage
  readonly #queues = new Map<number, { users: number }>()

  constructor(parent: ParentTable, loopback: number) {
    this.native = syscall(VIOMMU_ALLOC, () => new (addon().iommufd.VirtualIommu)(parent.native, parent.ioas.native))
    const words = new Uint32Array(Number(PAGE * 2n) / 4)
    words[0] = loopback
    this.registers = {
      length: PAGE * 2n,
      read: (offset) => words[offset / 4] ?? 0,
      write: (offset, value) => void (words[offset / 4] = value),
    }
  }

  nest(data: UserData): NestedTable {
    return makeTable(data)
  }

  invalidate(array: UserArray, deviceOf: (virtId: bigint) => object | undefined) {
    if (array.type !== IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST) return { done: 0, error: wrongKind(array) }
    const codec = iommuViommuInvalidateSelftest
    return invalidateEach(array, (at) => {
      const { flags, vdevId, cacheId } = takeEntry(array, at, array.type, codec, codec.size, INVALIDATE)
      checkEntry(flags, cacheId)
      const device = deviceOf(BigInt(vdevId))
      if (device === undefined) throw new VfioError('EINVAL', INVALIDATE, { reason: `there is no device ${vdevId}` })
      forget(deviceCache(device), flags, cacheId)
    })
  }

  makeQueue(index: number, base: bigint, length: bigint) {
    // Memory that it reads commands from is pinned and cannot be unmapped; nobody rings.
    const queue = syscall(QUEUE_ALLOC, () => new (addon().iommufd.CommandQueue)(this.native, index, base, length), {
      address: base,
    })
    const before = index === 0 ? undefined : this.#queues.get(index - 1)
    try {
      if (index >= QUEUES) throw new VfioError('EINVAL', QUEUE_ALLOC, { reason: `there are ${QUEUES} queues` })
      if (this.#queues.has(index)) throw new VfioError('EEXIST', QUEUE_ALLOC, { reason: `queue ${index} exists` })
      if (index > 0 && before === undefined) {
        throw new VfioError('EIO', QUEUE_ALLOC, { reason: `queue ${index - 1} comes first` })
      }
    } catch (error) {
      queue.close()
      throw error
    }
    const made = { users: 0 }
    this.#queues.set(index, made)
    if (before !== undefined) before.users++
    return {
      get inUse() {
        return made.users > 0
      },
      destroy: () => {
        this.#queues.delete(index)
        if (before !== undefined) before.users--
        queue.close()
      },
    }
  }
}

function checkEntry(flags: number, entry: number): void {
  if ((flags & ~ALL) !== 0) throw new VfioError('EOPNOTSUPP', INVALIDATE, { reason: 'unknown flags' })
  if (entry >= ENTRIES) throw new VfioError('EINVAL', INVALIDATE, { reason: `there is no entry ${entry}` })
}

function forget(cache: Uint32Array, flags: number, entry: number): void {
  if ((flags & ALL) !== 0) cache.fill(0)
  else cache[entry] = 0
}

function wrongKind(array: UserArray): VfioError {
  return new VfioError('EINVAL', INVALIDATE, { reason: `entries of kind 0x${array.type.toString(16)} are another's` })
}
