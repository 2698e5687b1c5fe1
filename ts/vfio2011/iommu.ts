/** The typed handle of an open IOMMU of 2011. */
import { FaultLog } from '../container/fault-log.ts'
import type { Task } from '../device/task.ts'
import { invalidArgType, outOfRange } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import { flag, record, u64, type U64 } from '../shape.ts'
import { VFIO_DMA_MAP_FLAG_MAP, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from '../uapi/2011/constants.ts'
import type { IommuInfo, IommuSession } from './iommu-session.ts'

/** Memory to be mapped for DMA. */
export interface DmaMapping {
  iova: U64
  memory: HostMemory
  /** Part of the memory in bytes; default all of it. */
  offset?: U64
  length?: U64
  /** Devices may read; default false. */
  read?: boolean
  /** Devices may write; default false. */
  write?: boolean
}

/** An open IOMMU. */
export class Iommu {
  readonly #session: IommuSession
  readonly #task: Task
  #faults: FaultLog | undefined

  /** @internal */
  constructor(session: IommuSession, task: Task) {
    this.#session = session
    this.#task = task
  }

  /** What can be mapped (`VFIO_IOMMU_GET_INFO`). @throws {VfioError} EBADF closed */
  info(): IommuInfo {
    return this.#session.info(this.#task)
  }

  /** Maps memory (`VFIO_IOMMU_MAP_DMA` with the flag MAP). @throws {VfioError} EBADF closed; EINVAL, EEXIST, ENOSPC, ENOMEM, EFAULT */
  mapDma(mapping: DmaMapping): void {
    const { memory } = record(mapping, 'mapping')
    if (!(memory instanceof HostMemory)) throw invalidArgType('memory', 'a HostMemory', memory)
    const iova = u64(mapping.iova, 'iova')
    const whole = BigInt(memory.byteLength)
    const offset = u64(mapping.offset ?? 0n, 'offset')
    if (offset > whole) throw outOfRange('offset', `within the memory of ${whole} bytes`, offset)
    const size = u64(mapping.length ?? whole - offset, 'length')
    if (size > whole - offset) throw outOfRange('length', `within the memory of ${whole} bytes`, size)
    const read = flag(mapping.read, 'read', false) ? VFIO_DMA_MAP_FLAG_READ : 0
    const write = flag(mapping.write, 'write', false) ? VFIO_DMA_MAP_FLAG_WRITE : 0
    const vaddr = this.#task.place(memory) + offset
    this.#session.mapDma(this.#task, { flags: VFIO_DMA_MAP_FLAG_MAP | read | write, vaddr, iova, size })
  }

  /** Unmaps what was mapped in a range (`VFIO_IOMMU_MAP_DMA` without the flag MAP). @throws {VfioError} EBADF closed; EINVAL unaligned, or it would cut a mapping */
  unmapDma(range: { iova: U64; length: U64 }): void {
    const iova = u64(record(range, 'range').iova, 'iova')
    this.#session.mapDma(this.#task, { flags: 0, vaddr: 0n, iova, size: u64(range.length, 'length') })
  }

  /** Refused DMA of the devices behind it. @throws {VfioError} EBADF closed */
  get faults(): FaultLog {
    this.#faults ??= new FaultLog(this.#session.faults(this.#task))
    return this.#faults
  }

  /** Closes it (idempotent); with the last user of the IOMMU its mappings go. */
  close(): void {
    this.#session.close()
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close()
  }
}
