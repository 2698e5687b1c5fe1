/** The parts of a device that its server answers by itself: memory behind regions, registers that ring an event. */
import type { DeviceSession } from '../device/device-session.ts'
import type { RegionInfo, RegionMemory, VfioDeviceOps } from '../device/ops.ts'
import { regionCapabilities } from '../device/region-capability.ts'
import type { NativeServedLayout } from '../native/addon.ts'
import { VFIO_REGION_INFO_FLAG_MMAP } from '../uapi/constants.ts'

/** Finds out about an open device. What a device fails to tell is answered by its callbacks. */
export function servedLayout(session: DeviceSession): NativeServedLayout {
  const { ops } = session.device
  const layout: NativeServedLayout = { hearsUnmaps: ops.dmaUnmap !== undefined, memory: [], doorbells: [] }
  if (ops.mmap === undefined && ops.regionMemory === undefined && ops.doorbells === undefined) return layout
  const { numRegions } = session.info()
  for (let region = 0; region < numRegions; region++) {
    for (const { offset, length, memory, memoryOffset } of memoryOf(ops, region)) {
      layout.memory.push({ region, offset, length, memory, memoryOffset: memoryOffset ?? 0n })
    }
    for (const { offset, width, value, event } of ops.doorbells?.(region) ?? []) {
      if (event.native === undefined) continue
      layout.doorbells.push({ region, offset, width, event: event.native, ...(value === undefined ? {} : { value }) })
    }
  }
  return layout
}

/** What the device says, or else what can be mapped. */
function memoryOf(ops: VfioDeviceOps, region: number): readonly RegionMemory[] {
  if (ops.regionMemory !== undefined) return ops.regionMemory(region)
  let info: RegionInfo
  try {
    info = ops.getRegionInfo(region)
  } catch {
    return [] // there is no such region
  }
  if ((info.flags & VFIO_REGION_INFO_FLAG_MMAP) === 0 || info.size === 0n) return []
  const areas = regionCapabilities(info.capabilities).sparseAreas ?? [{ offset: 0n, size: info.size }]
  return areas.flatMap(({ offset, size }) => mapped(ops, region, offset, size))
}

function mapped(ops: VfioDeviceOps, region: number, offset: bigint, length: bigint): RegionMemory[] {
  try {
    const mapping = ops.mmap?.(region, offset, length, { read: true, write: true, shared: true })
    mapping?.close()
    if (mapping?.memory === undefined) return []
    return [{ offset, length, memory: mapping.memory, memoryOffset: mapping.memoryOffset ?? 0n }]
  } catch {
    return [] // it cannot be mapped after all
  }
}
