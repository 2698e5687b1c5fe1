/**
 * Callbacks of bus drivers as the kernel's documents write them: each gets the device that was registered, and requests come
 * as bytes.
 *
 * A driver that would rather answer by values implements `VfioDeviceOps`; both forms end in the same core. Source:
 * `struct vfio_device_ops` in `Documentation/driver-api/vfio.rst`, today's and the older one.
 */
import type { DmaAccess, EventTarget64, FeatureDescriptors, IoctlArgument, RegionMapping } from './ops.ts'

/** Argument of a request on the device file. */
export interface BusDriverArgument extends IoctlArgument {
  /** The event behind a descriptor in the request's payload. @throws {VfioError} EBADF no such descriptor, EINVAL no eventfd */
  eventfd(fd: number): EventTarget64
}

/** Which part of the device file is to be mapped (`struct vm_area_struct`). */
export interface BusDriverArea {
  /** Position in the device file. */
  offset: bigint
  /** Bytes, whole pages. */
  length: bigint
  read: boolean
  write: boolean
  /** `MAP_SHARED`. */
  shared: boolean
}

/** What both forms have in common; `D` is the device as the driver knows it. An absent member is a callback that was left NULL. */
interface DeviceFileOps<D> {
  /** Reads at a position of the device file, for regions as the driver laid them out; absent: EINVAL. Returns the bytes read. */
  read?(device: D, into: Uint8Array, position: bigint): number | Promise<number>
  /** Writes at a position of the device file; absent: EINVAL. Returns the bytes written. */
  write?(device: D, from: Uint8Array, position: bigint): number | Promise<number>
  /**
   * Every `VFIO_DEVICE_*` request that the core does not answer itself; absent: EINVAL. Returns the call's value.
   * @throws {VfioError} ENOTTY a request that the driver does not know
   */
  ioctl?(device: D, request: number, argument: BusDriverArgument): number
  /** Maps part of the device file; absent: EINVAL. @throws {VfioError} EINVAL */
  mmap?(device: D, area: BusDriverArea): RegionMapping
}

/** Callbacks of a bus driver as of today's text. */
export interface BusDriverOps<D> extends DeviceFileOps<D> {
  /** Name of the driver. */
  readonly name: string
  /** Runs when the device is allocated. @throws {VfioError} refuses it */
  init?(device: D): void
  /** Runs when the device is let go for good. */
  release?(device: D): void
  /** The device was bound to an iommufd, and is `id` there. @throws {VfioError} refuses */
  bindIommufd?(device: D, id: number): void
  /** It is no longer bound, nor attached. */
  unbindIommufd?(device: D): void
  /** The device was attached to the address space or page table `ptId`. @throws {VfioError} refuses */
  attachIoas?(device: D, ptId: number): void
  /** It was detached. */
  detachIoas?(device: D): void
  /**
   * Runs at the first open of a user session; `dma` is what the device sees of memory, `machine` stands for the virtual machine that
   * uses it, if KVM was told before.
   * @throws {VfioError} refuses the open
   */
  openDevice?(device: D, dma: DmaAccess | undefined, machine?: object): void
  /** Runs at the last close. */
  closeDevice?(device: D): void
  /** The device is going away: ask the user to let go, for the `count`th time. */
  request?(device: D, count: number): void
  /** Tells whether a name that a user gave means this device; absent: its name is. */
  match?(device: D, name: string): boolean
  /** Pages in this range are being unmapped: unpin them now. May come before the first open. */
  dmaUnmap?(device: D, iova: bigint, length: bigint): void
  /** A feature that the core does not know; absent: ENOTTY. Returns the call's value. */
  deviceFeature?(
    device: D,
    flags: number,
    argument: IoctlArgument,
    argsz: number,
    descriptors: FeatureDescriptors,
  ): number
}

/** Callbacks of a bus driver as of the older text, in which `open` and `release` are those of the device file. */
export interface OlderBusDriverOps<D> extends DeviceFileOps<D> {
  /** Name of the driver; the older text had none. */
  readonly name?: string
  /** The device is opened; absent: EINVAL. @throws {VfioError} refuses */
  open?(device: D, dma: DmaAccess | undefined): void
  /** It is closed. */
  release?(device: D): void
}
