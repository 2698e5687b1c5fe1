/** Capabilities of a region, decoded. */
import {
  VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
  VFIO_REGION_INFO_CAP_SPARSE_MMAP,
  VFIO_REGION_INFO_CAP_TYPE,
} from '../uapi/constants.ts'
import type { InfoCapability } from './ops.ts'

/** What the capability chain of a region tells. */
export interface RegionCapabilities {
  /** Parts that can be mapped, where not all can (`VFIO_REGION_INFO_CAP_SPARSE_MMAP`). */
  sparseAreas?: { offset: bigint; size: bigint }[]
  /** What a region beyond the bus's own is for (`VFIO_REGION_INFO_CAP_TYPE`). */
  type?: { type: number; subtype: number }
  /** The MSI-X table may be mapped with the rest (`VFIO_REGION_INFO_CAP_MSIX_MAPPABLE`). */
  msixMappable: boolean
}

/** Decodes the capabilities that it knows and passes over the others. */
export function regionCapabilities(capabilities: readonly InfoCapability[] = []): RegionCapabilities {
  const decoded: RegionCapabilities = { msixMappable: false }
  for (const { id, payload } of capabilities) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
    if (id === VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) decoded.msixMappable = true
    else if (id === VFIO_REGION_INFO_CAP_TYPE && payload.byteLength >= 8) {
      decoded.type = { type: view.getUint32(0, true), subtype: view.getUint32(4, true) }
    } else if (id === VFIO_REGION_INFO_CAP_SPARSE_MMAP && payload.byteLength >= 8) {
      decoded.sparseAreas = sparseAreas(view)
    }
  }
  return decoded
}

function sparseAreas(view: DataView): { offset: bigint; size: bigint }[] {
  const count = Math.min(view.getUint32(0, true), Math.floor((view.byteLength - 8) / 16))
  return Array.from({ length: count }, (_, i) => ({
    offset: view.getBigUint64(8 + i * 16, true),
    size: view.getBigUint64(16 + i * 16, true),
  }))
}
