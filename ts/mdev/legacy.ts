/**
 * Registration in the manner of the older text, as an adapter onto today's: `struct mdev_parent_ops` becomes a driver.
 *
 * What differs for users: a type's attributes are the driver's own, the driver may refuse a removal, and it counts its
 * instances itself.
 */
import { invalidArgType } from '../errors.ts'
import { legacyDevice } from './legacy-device.ts'
import type { LegacyTypeGroup, MdevParentOps } from './legacy-ops.ts'
import type { Mdev, MdevTypeDescription } from './model.ts'
import type { MdevParentOptions } from './parent-options.ts'

/** What an older parent is registered with (`mdev_register_device`). */
export interface LegacyParentOptions {
  ops: MdevParentOps
  /** Name of the driver, with which the ids of its types begin; absent: the parent's name. */
  driver?: string
  /** Directory of a device that is there already; absent: a virtual device is made. */
  device?: string
}

/** Gives the options of today that amount to older ones. @throws {TypeError} a callback that has to be there is missing */
export function legacyOptions(name: string, { ops, driver, device }: LegacyParentOptions): MdevParentOptions {
  for (const callback of ['create', 'remove'] as const) {
    if (typeof ops?.[callback] !== 'function')
      throw invalidArgType(`options.ops.${callback}`, 'a function', ops?.[callback])
  }
  const { devAttrGroups, mdevAttrGroups, supportedTypeGroups } = ops
  if (!Array.isArray(supportedTypeGroups))
    throw invalidArgType('options.ops.supportedTypeGroups', 'an array', supportedTypeGroups)
  const removed = new WeakSet<Mdev>()
  const removeOnce = (mdev: Mdev) => {
    if (removed.has(mdev)) return
    ops.remove(mdev)
    removed.add(mdev)
  }
  return {
    driver: driver ?? name,
    types: supportedTypeGroups.map(typeOf),
    ...(device === undefined ? {} : { device }),
    ...(devAttrGroups === undefined ? {} : { attributes: devAttrGroups }),
    ...(mdevAttrGroups === undefined ? {} : { deviceAttributes: mdevAttrGroups }),
    probe: (mdev) => {
      ops.create(mdev.type, mdev)
      return legacyDevice(mdev, ops)
    },
    removing: removeOnce,
    remove: removeOnce,
    getAvailable: (type) => {
      const attribute = supportedTypeGroups.find((group) => group.name === type.name)?.attributes['available_instances']
      return Number.parseInt(attribute?.show?.(type) ?? '', 10) || 0
    },
  }
}

function typeOf({ name, attributes }: LegacyTypeGroup): MdevTypeDescription {
  for (const needed of ['device_api', 'available_instances']) {
    const attribute: unknown = attributes?.[needed]?.show
    if (typeof attribute !== 'function')
      throw invalidArgType(`the attribute ${needed} of type ${name}`, 'a function', attribute)
  }
  return { name, attributes }
}
