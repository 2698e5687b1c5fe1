/**
 * The nouns of mediated devices as drivers and users see them: parents offer types, a type makes devices, a driver gives
 * each device its VFIO callbacks.
 *
 * The mdev core implements parents, types and devices; drivers implement {@link MdevDriver}. Source:
 * `Documentation/driver-api/vfio-mediated-device.rst`, `struct mdev_driver`.
 */
import type { VfioDeviceOps } from '../device/ops.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import type { VfioGroup } from '../group/vfio-group.ts'

/** A sysfs attribute of `T`: an absent `show` or `store` also takes the permission away, unless `mode` says otherwise. */
export interface MdevAttribute<T> {
  /** Permission bits; absent: readable and writable as the callbacks allow, by root alone. */
  mode?: number
  /** Text that reading gives. */
  show?(object: T): string
  /** Takes what was written. @throws {VfioError} refuses it */
  store?(object: T, text: string): void
}

/** Attributes by name. */
export type MdevAttributes<T> = Readonly<Record<string, MdevAttribute<T>>>

/** Attributes in groups: each a directory of that name, or for `''` the object's own. */
export type MdevAttributeGroups<T> = Readonly<Record<string, MdevAttributes<T>>>

/** A type of devices as its parent's driver describes it. */
export interface MdevTypeDescription {
  /** What follows the driver's name and a dash in the type's id. */
  name: string
  /** What people read; absent: `name`. */
  prettyName?: string
  /** How many devices of this type there may be, where the driver has no `getAvailable`; absent: no limit of its own. */
  instances?: number
  /** Attributes in place of the standard ones (`name`, `available_instances`, `device_api`, `description`). */
  attributes?: MdevAttributes<MdevType>
  /** Whatever the driver wants to find again. */
  data?: unknown
}

/** A type that a parent offers (`struct mdev_type`). */
export interface MdevType {
  /** Such as `'mtty-2'`: the parent's driver, a dash, the type's name. */
  readonly id: string
  readonly name: string
  readonly prettyName: string
  /** Such as `'vfio-pci'`. */
  readonly deviceApi: string
  readonly parent: MdevParent
  /** Directory in sysfs. */
  readonly path: string
  /** How many more devices can be made, as `available_instances` shows it. */
  readonly available: number
  /** The devices of this type, by UUID. */
  readonly devices: readonly Mdev[]
  /** What the description carried. */
  readonly data: unknown
}

/** A device that offers types (`struct mdev_parent`). */
export interface MdevParent {
  readonly name: string
  /** Directory in sysfs. */
  readonly path: string
  readonly driver: MdevDriver
  readonly types: readonly MdevType[]
  /** All devices made from it, by UUID. */
  readonly devices: readonly Mdev[]
  /** The type of that id or name. */
  type(id: string): MdevType | undefined
  /**
   * Takes the parent away with all its devices (`mdev_unregister_parent`). Users of the devices are asked to let go; the promise
   * is fulfilled when all have. Nothing is made from it any more as soon as this is called.
   */
  unregister(): Promise<void>
}

/** A mediated device (`struct mdev_device`). */
export interface Mdev {
  /** In lower case. */
  readonly uuid: string
  readonly type: MdevType
  readonly parent: MdevParent
  /** Directory in sysfs. */
  readonly path: string
  /**
   * Its VFIO group, while a driver is bound; `host.groupOf(uuid)` tells more.
   * @internal
   */
  readonly group: VfioGroup | undefined
  /**
   * The device as VFIO knows it, while a driver is bound; `serve()` takes it.
   * @internal
   */
  readonly vfio: VfioDevice | undefined
  /** What its driver's probe gave, while it is bound. */
  readonly ops: VfioDeviceOps | undefined
  /** `active`: can be used; `removing`: waits until its users let go; `removed`: gone. */
  readonly state: 'creating' | 'active' | 'removing' | 'removed'
  /** Whatever its driver wants to find again (`dev_set_drvdata`). */
  driverData: unknown
  /**
   * Removes the device. Users are asked to let go, again and again; the promise is fulfilled when the last has and the device is
   * gone. Calling again gives the same promise.
   * @throws {VfioError} by rejection: EAGAIN it is still being made, and what the driver refuses with
   */
  remove(): Promise<void>
}

/** A device model that can be made into a VFIO device, such as a `PciModel`. */
export interface MdevModel {
  /** Makes the VFIO device; `name` is for messages. @throws {VfioError} refuses */
  vfioDevice(name: string): VfioDeviceOps
}

/** A driver of mediated devices (`struct mdev_driver`). */
export interface MdevDriver {
  /** Name on the mdev bus. */
  readonly name: string
  /** What `device_api` shows; default `'vfio-pci'`. */
  readonly deviceApi?: string
  /** How many devices one parent may have in all, where there is no `getAvailable`; absent: no limit of its own. */
  readonly maxInstances?: number
  /** Attributes of a bound device, such as those in the directory `vendor`. */
  readonly deviceAttributes?: MdevAttributeGroups<Mdev>
  /**
   * A device was made: gives its VFIO callbacks, or a model that has them. The core registers them, whose `init` may still refuse.
   * Each probe that returned is followed by one `remove`.
   * @throws {VfioError} refuses the device, as does `create`
   */
  probe(mdev: Mdev): VfioDeviceOps | MdevModel
  /** The device is no longer registered, and nobody uses it. */
  remove?(mdev: Mdev): void
  /** The device shall go. @throws {VfioError} refuses, if the removal is not the parent's own */
  removing?(mdev: Mdev): void
  /** How many more devices of a type can be made; absent: the core counts. */
  getAvailable?(type: MdevType): number
  /** Text of a type's `description`; absent: no such attribute. */
  showDescription?(type: MdevType): string
}
