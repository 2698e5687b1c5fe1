/** The typed handle of an I/O address space. */
import type { Task } from '../device/task.ts'
import { invalidArgType, outOfRange, VfioError } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import { syscall } from '../native/syscall.ts'
import { flag, u64, type U64 } from '../shape.ts'
import type { IommufdContext } from './context.ts'
import type { IoasObject } from './ioas.ts'

/** Memory to be mapped. */
export interface IoasMapping {
  memory: HostMemory
  /** Part of the memory; default all of it. */
  offset?: U64
  length?: U64
  /** Where devices see it; absent: wherever there is room. */
  iova?: U64
  /** Devices may read; default true. */
  read?: boolean
  /** Devices may write; default true. */
  write?: boolean
}

/** What is to be shown a second time. */
export interface IoasCopy {
  from: Ioas
  /** Range of `from`. */
  iova: U64
  length: U64
  /** Where it is shown; absent: wherever there is room. */
  at?: U64
  read?: boolean
  write?: boolean
}

/** A range of addresses, both ends inclusive. */
export interface UsableRange {
  start: bigint
  last: bigint
}

/** An I/O address space. Made by `iommufd.allocIoas()`. */
export class Ioas {
  /**
   * The object behind it.
   * @internal
   */
  readonly object: IoasObject
  readonly #context: IommufdContext
  readonly #task: Task
  /** Memory by where it is mapped: it must not go while devices may ask for it. */
  readonly #held = new Map<bigint, { memory: HostMemory | Ioas; length: bigint }>()

  /** @internal */
  constructor(object: IoasObject, context: IommufdContext, task: Task) {
    this.object = object
    this.#context = context
    this.#task = task
  }

  /** Its id; 0 once it is destroyed. */
  get id(): number {
    return this.object.id
  }

  /**
   * Maps memory; returns where devices see it (`IOMMU_IOAS_MAP`).
   * @throws {VfioError} EBADF destroyed, EINVAL, EEXIST, ENOSPC, ENOMEM over the limit, EFAULT the memory is gone
   */
  map(mapping: IoasMapping): bigint {
    const operation = 'IOMMU_IOAS_MAP'
    const { memory } = mapping ?? {}
    if (!(memory instanceof HostMemory)) throw invalidArgType('memory', 'a HostMemory', memory)
    const size = BigInt(memory.byteLength)
    const offset = u64(mapping.offset ?? 0n, 'offset')
    const length = u64(mapping.length ?? (offset < size ? size - offset : 0n), 'length')
    if (offset > size || length > size - offset) {
      throw outOfRange('length', `within the memory of ${size} bytes`, `${offset} + ${length}`)
    }
    const access = accessOf(mapping, operation)
    const at = mapping.iova === undefined ? {} : { iova: u64(mapping.iova, 'iova') }
    const { native } = this.#open(operation)
    const address = this.#task.place(memory) + offset
    const { chargeProcess } = this.#context
    const wanted = { mm: this.#task.mm, chargeProcess, length, ...access, ...at }
    const iova = syscall(
      operation,
      () => native.map(wanted, address),
      at.iova === undefined ? {} : { address: at.iova },
    )
    this.#held.set(iova, { memory, length })
    return iova
  }

  /** Shows a range of another space here, too; returns where (`IOMMU_IOAS_COPY`). Pages are pinned and charged once. */
  copy(request: IoasCopy): bigint {
    const operation = 'IOMMU_IOAS_COPY'
    const { from } = request ?? {}
    if (!(from instanceof Ioas)) throw invalidArgType('from', 'an Ioas', from)
    const range = { iova: u64(request.iova, 'iova'), length: u64(request.length, 'length') }
    const at = request.at === undefined ? undefined : u64(request.at, 'at')
    const access = accessOf(request, operation)
    const source = from.#open(operation).native
    const { native } = this.#open(operation)
    const iova = syscall(operation, () => native.copyFrom(source, range, at, access), { address: range.iova })
    this.#held.set(iova, { memory: from, length: range.length })
    return iova
  }

  /**
   * Unmaps whole mappings; returns the bytes unmapped (`IOMMU_IOAS_UNMAP`). When it returns no DMA reaches them.
   * @throws {VfioError} EBADF destroyed, ENOENT nothing is mapped, or it would cut a mapping; EDEADLK a device does not let go
   */
  unmap(range: { iova: U64; length: U64 }): bigint {
    const operation = 'IOMMU_IOAS_UNMAP'
    const [iova, length] = [u64(range?.iova, 'iova'), u64(range.length, 'length')]
    const unmapped = this.#open(operation).unmap(iova, length)
    if (unmapped === 0n) throw new VfioError('ENOENT', operation, { address: iova, reason: 'nothing is mapped there' })
    for (const start of this.#held.keys()) if (start >= iova && start - iova < length) this.#held.delete(start)
    return unmapped
  }

  /** Unmaps everything; returns the bytes unmapped. */
  unmapAll(): bigint {
    const unmapped = this.#open('IOMMU_IOAS_UNMAP').unmapAll()
    this.#held.clear()
    return unmapped
  }

  /** What can be mapped, and in which unit (`IOMMU_IOAS_IOVA_RANGES`). */
  ranges(): { usable: UsableRange[]; alignment: bigint } {
    const { native } = this.#open('IOMMU_IOAS_IOVA_RANGES')
    return { usable: native.usable(), alignment: native.alignment() }
  }

  /** Says where addresses may be chosen (`IOMMU_IOAS_ALLOW_IOVAS`); nothing allows all. @throws {VfioError} EINVAL, EADDRINUSE */
  allow(ranges: readonly { start: U64; last: U64 }[]): void {
    const operation = 'IOMMU_IOAS_ALLOW_IOVAS'
    if (!Array.isArray(ranges)) throw invalidArgType('ranges', 'an array', ranges)
    const taken = ranges.map((range) => ({ start: u64(range?.start, 'start'), last: u64(range?.last, 'last') }))
    if (taken.some(({ start, last }) => start >= last)) {
      throw new VfioError('EINVAL', operation, { reason: 'a range is empty' })
    }
    const { native } = this.#open(operation)
    syscall(operation, () => native.allow(taken))
  }

  /** Whether mappings are joined into large pages (`IOMMU_OPTION_HUGE_PAGES`). */
  get largePages(): boolean {
    return this.#open('IOMMU_OPTION').native.largePages()
  }

  /** Switches joining on or off. @throws {VfioError} EINVAL, EBADF */
  set largePages(large: boolean) {
    const wanted = flag(large, 'largePages', true)
    syscall('IOMMU_OPTION', () => this.#open('IOMMU_OPTION').native.setLargePages(wanted))
  }

  /** Destroys it (`IOMMU_DESTROY`; idempotent). @throws {VfioError} EBUSY a device is attached, or it has page tables */
  destroy(): void {
    if (this.id === 0) return
    this.#context.objects.destroy(this.id)
    this.#held.clear()
  }

  #open(operation: string): IoasObject {
    if (this.id === 0) throw new VfioError('EBADF', operation, { reason: 'the address space was destroyed' })
    return this.object
  }
}

function accessOf(access: { read?: boolean; write?: boolean }, operation: string): { read: boolean; write: boolean } {
  const read = flag(access.read, 'read', true)
  const write = flag(access.write, 'write', true)
  if (read || write) return { read, write }
  throw new VfioError('EINVAL', operation, { reason: 'devices may neither read nor write', remedy: 'give one of both' })
}
