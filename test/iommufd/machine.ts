/** A machine with an edu device behind the IOMMU and a mediated serial card. */
import { expect } from 'vitest'
import { Edu, HostMemory, mtty, SoftwareHost, type HostProcess } from '../../ts/index.ts'
import {
  IOMMU_IOAS_MAP_FIXED_IOVA,
  IOMMU_IOAS_MAP_READABLE,
  IOMMU_IOAS_MAP_WRITEABLE,
} from '../../ts/uapi/constants.ts'
import { iommuDestroy, iommuIoasAlloc, iommuIoasMap } from '../../ts/uapi/structs.ts'
import type { FileHandle } from '../../ts/index.ts'

export const EDU = '0000:00:04.0'
export const UUID = '11111111-2222-3333-4444-555555555502'
export const RW = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE
export const FIXED = IOMMU_IOAS_MAP_FIXED_IOVA

/** Matches a refusal. */
export const errno = (code: string) => expect.objectContaining({ code })

/** Makes the machine. */
export function machine(options: ConstructorParameters<typeof SoftwareHost>[0] = {}): SoftwareHost {
  const host = new SoftwareHost(options)
  host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })
  host.pci.powerOn()
  host.mdev.registerParent('mtty', mtty())
  host.mdev.create('mtty-2', UUID)
  return host
}

/** Memory of a process, and where it lies. */
export function ramOf(process: HostProcess, pages = 16): { memory: HostMemory; address: bigint } {
  const memory = HostMemory.allocate(pages * 4096)
  return { memory, address: process.map(memory) }
}

/** `IOMMU_IOAS_ALLOC`. */
export function allocIoas(file: FileHandle): number {
  const bytes = iommuIoasAlloc.bytes({ size: iommuIoasAlloc.size })
  file.ioctl('IOMMU_IOAS_ALLOC', bytes)
  return iommuIoasAlloc.decode(bytes).outIoasId
}

/** `IOMMU_IOAS_MAP`; returns where. */
export function mapAt(
  file: FileHandle,
  ioasId: number,
  userVa: bigint,
  length: bigint,
  iova?: bigint,
  flags = RW,
): bigint {
  const bytes = iommuIoasMap.bytes({
    size: iommuIoasMap.size,
    flags: flags | (iova === undefined ? 0 : FIXED),
    ioasId,
    userVa,
    length,
    iova: iova ?? 0n,
  })
  file.ioctl('IOMMU_IOAS_MAP', bytes)
  return iommuIoasMap.decode(bytes).iova
}

/** `IOMMU_DESTROY`. */
export function destroy(file: FileHandle, id: number): void {
  file.ioctl('IOMMU_DESTROY', iommuDestroy.bytes({ size: iommuDestroy.size, id }))
}
