/** The mappings of a container in another worker: the same core object, and no thread asks the other. */
import type { DmaMapping, DmaMappingBatch, DmaRange } from '../container/container.ts'
import { invalidArgType, outOfRange, VfioError } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import type { NativeDomain } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { record, u64 } from '../shape.ts'
import { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from '../uapi/constants.ts'

const MAP = 'VFIO_IOMMU_MAP_DMA'
const UNMAP = 'VFIO_IOMMU_UNMAP_DMA'

/**
 * Mappings that another worker's container has.
 *
 * What is mapped here is charged to the process of that container. Memory that is mapped here lies in that process until this
 * object is closed; mappings stay.
 */
export class SharedDomain {
  readonly #native: NativeDomain
  readonly #placed = new Map<HostMemory, { address: bigint; length: bigint }>()

  private constructor(native: NativeDomain) {
    this.#native = native
  }

  /**
   * Takes what `container.share()` made a token for, once.
   * @throws {TypeError} not a token
   * @throws {VfioError} EBADF unknown, or taken already
   */
  static adopt(token: bigint): SharedDomain {
    const number = u64(token, 'token')
    return new SharedDomain(syscall('adopt', () => addon().NativeDomain.adopt(number)))
  }

  /** How many mappings the container has. */
  get mappings(): number {
    return this.#native.mappings()
  }

  /** Maps memory for DMA, as the container's own `mapDma` does. @throws {VfioError} EBADF, EINVAL, EEXIST, ENOSPC, ENOMEM, EFAULT */
  mapDma(mapping: DmaMapping): void {
    const { memory, iova, read, write } = record(mapping, 'mapping')
    const base = this.#place(memory)
    const address = u64(iova, 'iova')
    const room = BigInt(memory.byteLength)
    const offset = u64(mapping.offset ?? 0n, 'offset')
    if (offset > room) throw outOfRange('offset', `within the memory of ${room} bytes`, offset)
    const length = u64(mapping.length ?? room - offset, 'length')
    if (length > room - offset) throw outOfRange('length', `within the memory of ${room} bytes`, length)
    const done = this.#native.mapDma(access(read, write), base + offset, address, length)
    if (done < 0) throw VfioError.fromStatus(done, MAP, { address })
  }

  /**
   * Maps many pieces of one memory, up to the first that is refused; those before it stay mapped.
   * @throws {VfioError} as {@link mapDma}, with how many were mapped
   */
  mapDmaBatch(batch: DmaMappingBatch): void {
    const { memory, triples, read, write } = record(batch, 'batch')
    const base = this.#place(memory)
    const room = BigInt(memory.byteLength)
    const placed = records(triples, 3, 'triples').slice()
    for (let at = 0; at < placed.length; at += 3) {
      const [offset = 0n, , length = 0n] = placed.subarray(at, at + 3)
      if (offset > room || length > room - offset) {
        throw outOfRange(`triples[${at}]`, `within the memory of ${room} bytes`, offset)
      }
      placed[at] = base + offset
    }
    const failure = new Int32Array(1)
    const done = this.#native.mapDmaBatch(access(read, write), placed, failure)
    refuseRest(done, placed.length / 3, failure, MAP)
  }

  /** Unmaps a range; returns the bytes unmapped. When it returns no DMA reaches them, from any thread. @throws {VfioError} EBADF, EINVAL, EBUSY */
  unmapDma(range: DmaRange): bigint {
    const { iova, length } = record(range, 'range')
    return this.#native.unmapDma(0, u64(iova, 'iova'), u64(length, 'length'))
  }

  /** Unmaps pairs of IOVA, length, up to the first that is refused. @throws {VfioError} as {@link unmapDma} */
  unmapDmaBatch(pairs: BigUint64Array): void {
    const failure = new Int32Array(1)
    const done = this.#native.unmapDmaBatch(0, records(pairs, 2, 'pairs'), failure)
    refuseRest(done, pairs.length / 2, failure, UNMAP)
  }

  /** Lets it go (idempotent); the mappings stay. */
  close(): void {
    for (const { address, length } of this.#placed.values()) this.#native.displace(address, length)
    this.#placed.clear()
    this.#native.close()
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #place(memory: HostMemory): bigint {
    if (!(memory instanceof HostMemory)) throw invalidArgType('memory', 'a HostMemory', memory)
    const known = this.#placed.get(memory)
    if (known !== undefined) return known.address
    const address = syscall('mmap', () => this.#native.place(memory.native))
    this.#placed.set(memory, { address, length: BigInt(memory.byteLength) })
    return address
  }
}

function access(read: boolean, write: boolean): number {
  return (read === true ? VFIO_DMA_MAP_FLAG_READ : 0) | (write === true ? VFIO_DMA_MAP_FLAG_WRITE : 0)
}

function records(list: BigUint64Array, size: number, name: string): BigUint64Array {
  if (!(list instanceof BigUint64Array)) throw invalidArgType(name, 'a BigUint64Array', list)
  if (list.length % size !== 0) throw outOfRange(`${name}.length`, `a multiple of ${size}`, list.length)
  return list
}

function refuseRest(done: number, wanted: number, failure: Int32Array, operation: string): void {
  if (done < 0) throw VfioError.fromStatus(done, operation)
  if (done === wanted) return
  const { code } = VfioError.fromStatus(failure[0] ?? 0, operation)
  throw new VfioError(code, operation, { reason: `${done} of ${wanted} were done` })
}
