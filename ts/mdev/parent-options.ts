/** What a parent is registered with, and the driver that it amounts to. */
import { invalidArgType, VfioError } from '../errors.ts'
import { record, u32 } from '../shape.ts'
import { checkName } from './drivers.ts'
import type { Mdev, MdevAttributeGroups, MdevDriver, MdevParent, MdevTypeDescription } from './model.ts'

/** What a parent offers and by whom. */
export interface MdevParentOptions {
  /** Driver of the devices; a name, or nothing (the parent's name) where the callbacks stand in these options. */
  driver?: MdevDriver | string
  types: readonly MdevTypeDescription[]
  /** Directory of a device that is there already; absent: a virtual device is made. */
  device?: string
  /** Attributes of the parent itself, in groups. */
  attributes?: MdevAttributeGroups<MdevParent>
  /** Callbacks of a driver of the parent's own, as in {@link MdevDriver}. */
  probe?: MdevDriver['probe']
  /** Nobody uses the device any more. */
  remove?: NonNullable<MdevDriver['remove']>
  /** The device shall go; throwing refuses. */
  removing?: NonNullable<MdevDriver['removing']>
  /** How many more devices of a type can be made. */
  getAvailable?: NonNullable<MdevDriver['getAvailable']>
  /** Text of a type's `description`. */
  showDescription?: NonNullable<MdevDriver['showDescription']>
  deviceApi?: string
  maxInstances?: number
  deviceAttributes?: MdevAttributeGroups<Mdev>
}

/** Gives the driver that the options name or contain. @throws {TypeError} neither */
export function driverOf(name: string, options: MdevParentOptions): MdevDriver {
  const { driver = name, probe } = options
  if (typeof driver === 'object' && driver !== null) return driver
  checkName(driver, 'options.driver')
  if (typeof probe !== 'function') throw invalidArgType('options.probe', 'a function', probe)
  const { remove, removing, getAvailable, showDescription, deviceApi, maxInstances, deviceAttributes } = options
  return {
    name: driver,
    probe,
    ...(remove === undefined ? {} : { remove }),
    ...(removing === undefined ? {} : { removing }),
    ...(getAvailable === undefined ? {} : { getAvailable }),
    ...(showDescription === undefined ? {} : { showDescription }),
    ...(deviceApi === undefined ? {} : { deviceApi }),
    ...(maxInstances === undefined ? {} : { maxInstances: u32(maxInstances, 'options.maxInstances') }),
    ...(deviceAttributes === undefined ? {} : { deviceAttributes }),
  }
}

/** Checks the descriptions of types. @throws {TypeError} a wrong shape, {VfioError} EEXIST two have one name */
export function checkTypes(types: readonly MdevTypeDescription[]): void {
  if (!Array.isArray(types)) throw invalidArgType('options.types', 'an array of types', types)
  const names = new Set<string>()
  for (const type of types) {
    const { name, instances } = record(type, 'options.types[]')
    checkName(name, 'options.types[].name')
    if (instances !== undefined) u32(instances, 'options.types[].instances')
    if (names.has(name))
      throw new VfioError('EEXIST', 'mdev_register_parent', { reason: `two types are named '${name}'` })
    names.add(name)
  }
}
