/** One open of the IOMMU that groups share: what its file and its typed handle both call. */
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { VFIO_DMA_MAP_FLAG_MAP, VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE } from '../uapi/2011/constants.ts'
import * as present from '../uapi/constants.ts'
import type { DeviceGroup } from './device-group.ts'
import type { MergedGroups } from './merged-groups.ts'

const KNOWN = VFIO_DMA_MAP_FLAG_MAP | VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE

/** What `VFIO_IOMMU_GET_INFO` tells. */
export interface IommuInfo {
  /** Last address that can be mapped. Ranges between that and `iovaMin` may still be reserved. */
  iovaMax: bigint
  /** First address that can be mapped. */
  iovaMin: bigint
  /** What addresses and sizes are multiples of. */
  alignment: bigint
}

/** An open IOMMU. */
export class IommuSession {
  readonly #merged: MergedGroups
  #closed = false

  /**
   * Opens the IOMMU of `group` and those that it is merged with (`VFIO_GROUP_GET_IOMMU_FD`).
   * @throws {VfioError} EPERM a group is not viable, or another process uses the IOMMU; and what the IOMMU refuses with
   */
  constructor(task: Task, group: DeviceGroup) {
    this.#merged = group.merged
    this.#merged.hold(task, 'VFIO_GROUP_GET_IOMMU_FD')
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed
  }

  /** `VFIO_IOMMU_GET_INFO`. @throws {VfioError} EPERM another process uses the IOMMU */
  info(task: Task): IommuInfo {
    const operation = 'VFIO_IOMMU_GET_INFO'
    const { iovaRanges, pageSizes } = this.#open(operation).mapper(task, operation).info()
    return {
      iovaMax: iovaRanges?.at(-1)?.last ?? 0xffff_ffff_ffff_ffffn,
      iovaMin: iovaRanges?.[0]?.start ?? 0n,
      alignment: pageSizes & -pageSizes,
    }
  }

  /**
   * `VFIO_IOMMU_MAP_DMA`: maps, or without the flag MAP unmaps. Mappings are unmapped as wholes; `vaddr` does not matter then.
   * @throws {VfioError} EINVAL unknown flags; EPERM another process uses the IOMMU; then to map EINVAL neither read nor write,
   * unaligned or reserved, EEXIST overlap, ENOSPC, ENOMEM, EFAULT, EOVERFLOW; to unmap EINVAL unaligned, or it would cut a mapping
   */
  mapDma(task: Task, request: { flags: number; vaddr: bigint; iova: bigint; size: bigint }): void {
    const operation = 'VFIO_IOMMU_MAP_DMA'
    const { flags, vaddr, iova, size } = request
    const merged = this.#open(operation)
    if ((flags & ~KNOWN) !== 0) {
      throw new VfioError('EINVAL', operation, { reason: `unknown flags 0x${flags.toString(16)}` })
    }
    const mapper = merged.mapper(task, operation)
    if ((flags & VFIO_DMA_MAP_FLAG_MAP) === 0) {
      mapper.unmap(task.mm, 0, iova, size)
      return
    }
    const read = (flags & VFIO_DMA_MAP_FLAG_READ) !== 0 ? present.VFIO_DMA_MAP_FLAG_READ : 0
    const write = (flags & VFIO_DMA_MAP_FLAG_WRITE) !== 0 ? present.VFIO_DMA_MAP_FLAG_WRITE : 0
    mapper.map(task.mm, read | write, vaddr, iova, size)
  }

  /** Refused DMA of the devices behind it. */
  faults(task: Task) {
    return this.#open('faults').mapper(task, 'faults').faults
  }

  /** Closes it (idempotent); the last user takes the mappings with it. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#merged.release()
  }

  #open(operation: string): MergedGroups {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: 'the IOMMU is closed' })
    return this.#merged
  }
}
