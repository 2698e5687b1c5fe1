/** The typed handle of a container. */
import { invalidArgType, outOfRange, VfioError } from '../errors.ts'
import type { Task } from '../device/task.ts'
import { HostMemory } from '../memory/host-memory.ts'
import { flag, record, u32, u64, type U64 } from '../shape.ts'
import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
} from '../uapi/constants.ts'
import { DirtyTracking, dirtyBitmap, type DirtyQuery } from './dirty-tracking.ts'
import type { DmaMapper, IommuInfo } from './dma-mapper.ts'
import { FaultLog } from './fault-log.ts'
import { Spapr } from './spapr.ts'
import type { VfioContainer } from './vfio-container.ts'

/** Memory of ours: all of it, or a part. */
export interface MemoryPart {
  memory: HostMemory
  /** First byte of it; default 0. */
  offset?: U64
  /** Length in bytes; default up to the end. */
  length?: U64
}

/** What to map. Addresses, offsets and lengths are multiples of the IOMMU's page size. */
export interface DmaMapping extends MemoryPart {
  /** Address at which devices see it. */
  iova: U64
  /** Devices may read it. */
  read: boolean
  /** Devices may write it. */
  write: boolean
}

/** Many mappings of one memory. */
export interface DmaMappingBatch {
  memory: HostMemory
  /** Triples of offset into the memory, IOVA, length. */
  triples: BigUint64Array
  read: boolean
  write: boolean
}

/** A range of DMA addresses; length in bytes. */
export interface DmaRange {
  iova: U64
  length: U64
}

/** A container of one process, its default one where nothing else is said. Closing it leaves attached groups attached. */
export class Container {
  /**
   * The container behind it, which files and groups share.
   * @internal
   */
  readonly container: VfioContainer
  readonly #task: Task
  #closed = false
  #faults: { of: DmaMapper; log: FaultLog } | undefined
  /** Dirty tracking. */
  readonly dirty: DirtyTracking

  /**
   * Made by `host.openContainer()`.
   * @internal
   */
  constructor(container: VfioContainer, task: Task) {
    this.container = container
    this.#task = task
    this.dirty = new DirtyTracking(() => this.#mapper('VFIO_IOMMU_DIRTY_PAGES'))
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed
  }

  /** The IOMMU model that was chosen, such as `VFIO_TYPE1v2_IOMMU`. */
  get model(): number | undefined {
    return this.#open('container').backend?.model
  }

  /** Version of the interface (`VFIO_GET_API_VERSION`). */
  apiVersion(): number {
    return this.#open('VFIO_GET_API_VERSION').apiVersion()
  }

  /** Tells whether a model or extension is there (`VFIO_CHECK_EXTENSION`). */
  checkExtension(extension: number): boolean {
    return this.#open('VFIO_CHECK_EXTENSION').checkExtension(u32(extension, 'extension')) > 0
  }

  /**
   * Chooses the IOMMU model (`VFIO_SET_IOMMU`); a group must be attached.
   * @throws {VfioError} EBADF closed, EINVAL no group or a model already, ENODEV nobody knows the model
   */
  setIommu(model: number): void {
    this.#open('VFIO_SET_IOMMU').setIommu(this.#task, u32(model, 'model'))
  }

  /**
   * Maps memory for DMA (`VFIO_IOMMU_MAP_DMA`). The memory stays mapped, and its bytes stay, until it is unmapped.
   * @throws {VfioError} EBADF closed, EINVAL no IOMMU, unaligned, reserved, neither read nor write; EEXIST overlap; ENOSPC too many
   * mappings; ENOMEM over the locked-memory limit; EFAULT the memory is gone
   */
  mapDma(mapping: DmaMapping): void {
    const { iova, vaddr, size, flags } = this.#mapping(mapping, 'VFIO_IOMMU_MAP_DMA')
    this.#mapper('VFIO_IOMMU_MAP_DMA').map(this.#task.mm, flags, vaddr, iova, size)
    this.container.held?.add(iova, mapping.memory)
  }

  /** Maps many pieces of one memory: all or, where one is refused, none. @throws {VfioError} as {@link mapDma} */
  mapDmaBatch(batch: DmaMappingBatch): void {
    const { memory } = record(batch, 'batch')
    if (!(memory instanceof HostMemory)) throw invalidArgType('memory', 'a HostMemory', memory)
    const triples = checkRecords(batch.triples, 3, 'triples')
    const flags = accessFlags(batch)
    const mapper = this.#mapper('VFIO_IOMMU_MAP_DMA')
    const base = this.#task.place(memory)
    const length = BigInt(memory.byteLength)
    const placed = triples.slice()
    for (let i = 0; i < placed.length; i += 3) {
      const offset = placed[i] ?? 0n
      const size = placed[i + 2] ?? 0n
      if (offset > length || size > length - offset) throw outsideMemory(`triples[${i}]`, length, offset, size)
      placed[i] = base + offset
    }
    mapper.mapBatch(this.#task.mm, flags, placed)
    const { held } = this.container
    if (held) for (let i = 1; i < triples.length; i += 3) held.add(triples[i] ?? 0n, memory)
  }

  /**
   * Unmaps the mappings in a range (`VFIO_IOMMU_UNMAP_DMA`); returns the bytes unmapped. When it returns no DMA reaches them.
   * @throws {VfioError} EBADF closed, EINVAL no IOMMU, unaligned, or it would cut a mapping; EBUSY a device does not let go
   */
  unmapDma(range: DmaRange): bigint {
    const iova = u64(record(range, 'range').iova, 'iova')
    const length = u64(range.length, 'length')
    const unmapped = this.#mapper('VFIO_IOMMU_UNMAP_DMA').unmap(this.#task.mm, 0, iova, length)
    this.container.held?.drop(iova, length)
    return unmapped
  }

  /**
   * Unmaps pairs of IOVA, length, in order; puts the bytes unmapped in the place of the lengths. Those before one that is
   * refused stay unmapped.
   * @throws {VfioError} as {@link unmapDma}
   */
  unmapDmaBatch(pairs: BigUint64Array): void {
    checkRecords(pairs, 2, 'pairs')
    const { held } = this.container
    const asked = held && pairs.slice()
    this.#mapper('VFIO_IOMMU_UNMAP_DMA').unmapBatch(this.#task.mm, 0, pairs)
    if (asked) for (let i = 0; i < asked.length; i += 2) held?.drop(asked[i] ?? 0n, asked[i + 1] ?? 0n)
  }

  /** Unmaps everything; returns the bytes unmapped. @throws {VfioError} as {@link unmapDma} */
  unmapAll(): bigint {
    const unmapped = this.#mapper('VFIO_IOMMU_UNMAP_DMA').unmap(this.#task.mm, VFIO_DMA_UNMAP_FLAG_ALL, 0n, 0n)
    this.container.held?.clear()
    return unmapped
  }

  /**
   * Unmaps a range and tells which of its pages were dirty, as `dirty.bitmap()` does.
   * @throws {VfioError} as {@link unmapDma}, and EINVAL tracking is off
   */
  unmapDmaDirty(query: DirtyQuery): { unmapped: bigint; bitmap: Uint8Array } {
    const iova = u64(record(query, 'query').iova, 'iova')
    const size = u64(query.length, 'length')
    const pageSize = u64(query.pageSize ?? 4096n, 'pageSize')
    const bitmap = dirtyBitmap(size, pageSize)
    const mapper = this.#mapper('VFIO_IOMMU_UNMAP_DMA')
    const unmapped = mapper.unmapDirty(this.#task.mm, iova, size, pageSize, bitmap)
    this.container.held?.drop(iova, size)
    return { unmapped, bitmap }
  }

  /**
   * Takes the process address from the mappings in a range, or from all, so that a successor of this process can give its own:
   * devices go on, new pins wait. Returns the bytes concerned.
   * @throws {VfioError} EBUSY mediated devices are attached, EINVAL it would cut a mapping
   */
  invalidateVaddr(range?: DmaRange): bigint {
    const mapper = this.#mapper('VFIO_IOMMU_UNMAP_DMA')
    if (range === undefined) {
      return mapper.unmap(this.#task.mm, VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL, 0n, 0n)
    }
    const iova = u64(record(range, 'range').iova, 'iova')
    return mapper.unmap(this.#task.mm, VFIO_DMA_UNMAP_FLAG_VADDR, iova, u64(range.length, 'length'))
  }

  /** Gives a mapping whose address was taken the address of `memory`. @throws {VfioError} EINVAL, EBUSY, ENOENT, EPERM */
  updateVaddr(part: MemoryPart & { iova: U64 }): void {
    const { iova, vaddr, size } = this.#mapping(
      { ...record(part, 'part'), read: false, write: false },
      'VFIO_IOMMU_MAP_DMA',
    )
    this.#mapper('VFIO_IOMMU_MAP_DMA').map(this.#task.mm, VFIO_DMA_MAP_FLAG_VADDR, vaddr, iova, size)
  }

  /**
   * Makes a token by which one other worker of this process maps and unmaps in this container, with `SharedDomain.adopt()`.
   * A token that nobody takes holds the mappings until the process ends.
   * @throws {VfioError} EBADF closed, EINVAL no IOMMU, EOPNOTSUPP not type1
   */
  share(): bigint {
    const mapper = this.#mapper('share')
    if (mapper.share === undefined) {
      throw new VfioError('EOPNOTSUPP', 'share', { reason: 'only the mappings of type1 are shared between workers' })
    }
    return mapper.share(this.#task.mm)
  }

  /** What the IOMMU can do (`VFIO_IOMMU_GET_INFO`). @throws {VfioError} EBADF closed, EINVAL no IOMMU */
  info(): IommuInfo {
    return this.#mapper('VFIO_IOMMU_GET_INFO').info()
  }

  /** Refused DMA of the devices in this container. @throws {VfioError} EBADF closed, EINVAL no IOMMU */
  get faults(): FaultLog {
    const mapper = this.#mapper('faults')
    if (this.#faults?.of !== mapper) this.#faults = { of: mapper, log: new FaultLog(mapper.faults) }
    return this.#faults.log
  }

  /** Windows, registered memory and error handling of an sPAPR IOMMU. @throws {VfioError} EBADF closed, EINVAL no IOMMU, ENOTTY another model */
  get spapr(): Spapr {
    const { spapr } = this.#open('spapr').requireBackend('spapr')
    if (spapr === undefined) throw new VfioError('ENOTTY', 'spapr', { reason: 'that is no sPAPR IOMMU' })
    return new Spapr(spapr, this.#task)
  }

  /** Closes the handle (idempotent). Groups that are attached, and their mappings, stay. */
  close(): void {
    this.#closed = true
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #open(operation: string): VfioContainer {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the container is closed' })
    return this.container
  }

  #mapper(operation: string): DmaMapper {
    const { mapper } = this.#open(operation).requireBackend(operation)
    if (mapper === undefined) throw new VfioError('ENOTTY', operation, { reason: 'this IOMMU model maps nothing' })
    return mapper
  }

  #mapping(mapping: DmaMapping, operation: string): { iova: bigint; vaddr: bigint; size: bigint; flags: number } {
    const { memory } = record(mapping, 'mapping')
    if (!(memory instanceof HostMemory)) throw invalidArgType('memory', 'a HostMemory', memory)
    const iova = u64(mapping.iova, 'iova')
    const length = BigInt(memory.byteLength)
    const offset = u64(mapping.offset ?? 0n, 'offset')
    if (offset > length) throw outsideMemory('offset', length, offset, 0n)
    const size = u64(mapping.length ?? length - offset, 'length')
    if (size > length - offset) throw outsideMemory('length', length, offset, size)
    const flags = accessFlags(mapping)
    this.#open(operation).requireBackend(operation)
    return { iova, vaddr: this.#task.place(memory) + offset, size, flags }
  }
}

function accessFlags(access: { read: boolean; write: boolean }): number {
  const read = flag(access.read, 'read', false) ? VFIO_DMA_MAP_FLAG_READ : 0
  const write = flag(access.write, 'write', false) ? VFIO_DMA_MAP_FLAG_WRITE : 0
  return read | write
}

function checkRecords(records: BigUint64Array, width: number, name: string): BigUint64Array {
  if (!(records instanceof BigUint64Array)) throw invalidArgType(name, 'a BigUint64Array', records)
  if (records.length % width !== 0) throw outOfRange(`${name}.length`, `a multiple of ${width}`, records.length)
  return records
}

function outsideMemory(name: string, length: bigint, offset: bigint, size: bigint): RangeError {
  return outOfRange(name, `within the memory of ${length} bytes`, `${offset} + ${size}`)
}
