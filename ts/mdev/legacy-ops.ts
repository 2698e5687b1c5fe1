/**
 * The parent's callbacks of the older text: one set for all its devices, each passed in.
 *
 * Source: `struct mdev_parent_ops`, `Documentation/vfio-mediated-device.txt`.
 */
import type { BusDriverArea, BusDriverArgument } from '../device/bus-driver-ops.ts'
import type { RegionMapping } from '../device/ops.ts'
import type { Mdev, MdevAttributeGroups, MdevAttributes, MdevParent, MdevType } from './model.ts'

/** Argument of an ioctl on a device. */
export type LegacyArgument = BusDriverArgument

/** A type as an attribute group: `device_api` and `available_instances` have to be among its attributes. */
export interface LegacyTypeGroup {
  name: string
  attributes: MdevAttributes<MdevType>
}

/** What part of a device file is to be mapped. */
export type LegacyMapping = BusDriverArea

/** Callbacks of a parent's driver. */
export interface MdevParentOps {
  /** Attributes of the parent. */
  devAttrGroups?: MdevAttributeGroups<MdevParent>
  /** Attributes of each device. */
  mdevAttrGroups?: MdevAttributeGroups<Mdev>
  supportedTypeGroups: readonly LegacyTypeGroup[]
  /** Allocates what a device needs. @throws {VfioError} refuses it */
  create(type: MdevType, mdev: Mdev): void
  /** Frees what a device needed. @throws {VfioError} EBUSY it is in use and cannot be unplugged; ignored where the parent goes */
  remove(mdev: Mdev): void
  /** A device is opened; absent: EINVAL. @throws {VfioError} refuses */
  open?(mdev: Mdev): void
  /** A device is closed. */
  release?(mdev: Mdev): void
  /** Reads at a position of the device file (regions lie 2^40 bytes apart); absent: EINVAL. Returns the bytes read. */
  read?(mdev: Mdev, into: Uint8Array, position: bigint): number
  /** Writes at a position of the device file; absent: EINVAL. Returns the bytes written. */
  write?(mdev: Mdev, from: Uint8Array, position: bigint): number
  /** Every ioctl on the device file, as bytes; absent: EINVAL. Returns its value. @throws {VfioError} ENOTTY unknown */
  ioctl?(mdev: Mdev, request: number, argument: LegacyArgument): number
  /** Maps part of the device file; absent: EINVAL. */
  mmap?(mdev: Mdev, area: LegacyMapping): RegionMapping
}
