/** What an sPAPR IOMMU can do beyond mapping: the meaning of its ioctls without their bytes. */
import type { NativeAddressSpace } from '../native/addon.ts'

/** What `VFIO_IOMMU_SPAPR_TCE_GET_INFO` tells. */
export interface SpaprInfo {
  /** The 32-bit window that a group starts with, made at first use: first address and size in bytes. */
  dma32Start: bigint
  dma32Size: bigint
  /** Windows that can be created: bitmap of page sizes, how many at a time, most levels of a table. Version 2 only. */
  dynamic?: { pageSizes: bigint; maxWindows: number; levels: number }
}

/** A window of a container. */
export interface SpaprWindow {
  /** First address. */
  start: bigint
  /** Base-two logarithm of the page. */
  pageShift: number
  /** Bytes that can be mapped, which may be more than was asked for. */
  size: bigint
  /** The entry of an address: rights in the lowest bits, the real page above. A diagnostic. */
  entry(iova: bigint): bigint
}

/** A window to be created. */
export interface SpaprWindowRequest {
  pageShift: number
  size: bigint
  levels: number
}

/** An error to inject. */
export interface SpaprError {
  /** 0: 32-bit, 1: 64-bit. */
  type: number
  /** `EEH_ERR_FUNC_*`, 0 to 19. */
  func: number
  addr: bigint
  mask: bigint
}

/** The IOMMU of one container. `mm` is the caller's. */
export interface SpaprControl {
  readonly version2: boolean
  info(): SpaprInfo
  /** @throws {VfioError} ENOTTY version 2, EBUSY, EPERM, ENOMEM */
  enable(mm: NativeAddressSpace): void
  /** @throws {VfioError} ENOTTY version 2, EPERM */
  disable(mm: NativeAddressSpace): void
  /** 0, or how many pages were found where the end is missing. @throws {VfioError} ENOTTY version 1, EPERM, EINVAL, EBUSY, ENOMEM, EFAULT */
  registerMemory(mm: NativeAddressSpace, vaddr: bigint, size: bigint): number
  /** @throws {VfioError} ENOTTY version 1, EPERM, EINVAL, ENOENT */
  unregisterMemory(mm: NativeAddressSpace, vaddr: bigint, size: bigint): void
  /** The first address. @throws {VfioError} ENOTTY version 1, EPERM, ENOSPC, EINVAL, ENOMEM, ENODEV */
  createWindow(mm: NativeAddressSpace, request: SpaprWindowRequest): bigint
  /** @throws {VfioError} ENOTTY version 1, EPERM, EINVAL */
  removeWindow(mm: NativeAddressSpace, start: bigint): void
  /** Windows that there are. */
  listWindows(): SpaprWindow[]
  /** `VFIO_EEH_PE_OP`. @throws {VfioError} EPERM, ENODEV, EINVAL, EIO, ERANGE */
  eeh(mm: NativeAddressSpace, op: number, error?: () => SpaprError): number
}
