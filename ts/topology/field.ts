/** Reading JSON: each value is checked where it stands and named by its path, such as `topology.pci[2].driver`. */
import { invalidArgType, invalidArgValue, outOfRange } from '../errors.ts'
import { list, record } from '../shape.ts'

/** A value and the path to it. */
export interface Field {
  readonly value: unknown
  readonly path: string
}

/** The members of an object that has no other keys than `keys`. @throws {TypeError} no object, or another key */
export function members<K extends string>({ value, path }: Field, keys: readonly K[]): Record<K, Field> {
  if (Array.isArray(value)) throw invalidArgType(path, 'an object', value)
  const object = record(value as Record<string, unknown> | null, path)
  const strange = Object.keys(object).find((key) => !(keys as readonly string[]).includes(key))
  if (strange !== undefined) {
    throw invalidArgValue(`${path}.${strange}`, `is not known there; known are ${keys.join(', ')}`)
  }
  const found = keys.map((key): [K, Field] => [
    key,
    { value: Object.hasOwn(object, key) ? object[key] : undefined, path: `${path}.${key}` },
  ])
  return Object.fromEntries(found) as Record<K, Field>
}

/** The elements of an array; none where it is absent. @throws {TypeError} no array */
export function elements({ value, path }: Field): Field[] {
  if (value === undefined) return []
  return list(value as readonly unknown[], path).map((element, index) => ({
    value: element,
    path: `${path}[${index}]`,
  }))
}

/** What `read` makes of a value, as a member called `name`; no member where the value is absent. */
export function optional<N extends string, T>(
  name: N,
  field: Field,
  read: (value: unknown, path: string) => T,
): { [key in N]?: T } {
  if (field.value === undefined) return {}
  return { [name]: read(field.value, field.path) } as { [key in N]?: T }
}

/** A 64-bit quantity: a safe integer, or a string in decimal or hexadecimal. @throws {TypeError | RangeError} */
export function quantity(value: unknown, path: string): bigint {
  const whole =
    typeof value === 'string' ? /^(0x[0-9a-f]{1,16}|[0-9]{1,20})$/i.test(value) : Number.isSafeInteger(value)
  if (!whole) throw invalidArgType(path, "a safe integer, or a string such as '0x1000'", value)
  const number = BigInt(value as number | string)
  if (number < 0n || number > 0xffff_ffff_ffff_ffffn) throw outOfRange(path, '>= 0 and <= 2^64-1', number)
  return number
}

/** A boolean. @throws {TypeError} */
export function truth(value: unknown, path: string): boolean {
  if (typeof value !== 'boolean') throw invalidArgType(path, 'a boolean', value)
  return value
}
