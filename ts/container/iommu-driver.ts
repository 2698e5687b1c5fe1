/**
 * The IOMMU driver interface: what a container asks of the driver behind it.
 *
 * Drivers (`type1`, `spapr`, …) register with the container registry in `host/`, as `vfio_register_iommu_driver()` does.
 */
import type { DmaAccess, IoctlArgument, VfioDeviceOps } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import type { NativeAddressSpace, NativeReservedRegion } from '../native/addon.ts'
import type { DmaMapper } from './dma-mapper.ts'
import type { SpaprControl } from './spapr-control.ts'

/** What an IOMMU driver needs to know about a group that joins its container. */
export interface AttachableGroup {
  /** Number of the IOMMU group. */
  readonly number: number
  /** `iommu`: behind the host's IOMMU; `emulated`: mediated devices only; `noiommu`: no isolation at all. */
  readonly kind: 'iommu' | 'emulated' | 'noiommu'
  /** Name for messages. */
  readonly name: string
  /** Ranges that its devices cannot be mapped at. */
  readonly reserved: readonly NativeReservedRegion[]
}

/** A device as the IOMMU driver knows it. */
export interface AttachedDevice {
  readonly name: string
  readonly ops: VfioDeviceOps
}

/** A driver for one or more IOMMU models (`VFIO_TYPE1_IOMMU`, …). */
export interface IommuDriver {
  readonly name: string
  /** Serves groups without isolation, and no others. */
  readonly noiommu?: boolean
  /** Answers `VFIO_CHECK_EXTENSION` before a model is chosen. */
  checkExtension(extension: number): number
  /**
   * Makes an instance for `model`, which `task` asks for.
   * @throws {VfioError} EINVAL the driver affirms the extension and has no such model, EPERM
   */
  open(model: number, task: Task): IommuBackend
}

/** One instance: the IOMMU of one container. */
export interface IommuBackend {
  /** The model that was chosen by `VFIO_SET_IOMMU`. */
  readonly model: number
  checkExtension(extension: number): number
  attachGroup(group: AttachableGroup): void
  detachGroup(group: AttachableGroup): void
  /** A device of an attached group was opened: gives its view of memory, if the IOMMU knows one. */
  openDevice(group: AttachableGroup, device: AttachedDevice): DmaAccess | undefined
  closeDevice(group: AttachableGroup, device: AttachedDevice): void
  /** An ioctl on the container file that the container does not know. `mm` is the caller's. @throws {VfioError} ENOTTY */
  ioctl(request: number, argument: IoctlArgument, mm: NativeAddressSpace): number
  /** What the typed container maps with; absent: ENOTTY. */
  readonly mapper?: DmaMapper
  /** What only an sPAPR IOMMU has; absent: ENOTTY. */
  readonly spapr?: SpaprControl
  /** Gives everything back; the last group has left. */
  release(): void
}
