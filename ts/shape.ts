/** Shape checks of arguments: each returns the value in its one internal form or throws a `TypeError`/`RangeError`. */
import { invalidArgType, invalidArgValue, outOfRange, shown } from './errors.ts'

const U64_MAX = 0xffff_ffff_ffff_ffffn

/** A 64-bit quantity as callers may write it: a bigint, or a safe integer. */
export type U64 = bigint | number

/** Takes a 64-bit unsigned value. */
export function u64(value: unknown, name: string): bigint {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw outOfRange(name, 'a bigint or a safe integer', value)
    value = BigInt(value)
  }
  if (typeof value !== 'bigint') throw invalidArgType(name, 'a bigint or a safe integer', value)
  if (value < 0n || value > U64_MAX) throw outOfRange(name, '>= 0n and <= 2^64-1', value)
  return value
}

/** Takes a 32-bit unsigned value. */
export function u32(value: unknown, name: string): number {
  if (typeof value !== 'number') throw invalidArgType(name, 'a number', value)
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff)
    throw outOfRange(name, 'an integer >= 0 and < 2^32', value)
  return value
}

/** Takes a boolean, or the default where it is absent. */
export function flag(value: unknown, name: string, absent: boolean): boolean {
  if (value === undefined) return absent
  if (typeof value !== 'boolean') throw invalidArgType(name, 'a boolean', value)
  return value
}

/** Takes a string. */
export function text(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidArgType(name, 'a string', value)
  return value
}

/** Takes one of several strings. */
export function oneOf<T extends string>(value: unknown, choices: readonly T[], name: string): T {
  if (choices.includes(value as T)) return value as T
  const list = choices.map((choice) => `'${choice}'`).join(', ')
  throw typeof value === 'string'
    ? invalidArgValue(name, `must be one of ${list}. Received ${shown(value)}`)
    : invalidArgType(name, `one of ${list}`, value)
}

/** Takes an object whose members are looked at next. */
export function record<T extends object>(value: T | null | undefined, name: string): T {
  if (typeof value !== 'object' || value === null) throw invalidArgType(name, 'an object', value)
  return value
}

/** Takes an array. */
export function list<T>(value: readonly T[], name: string): readonly T[] {
  if (!Array.isArray(value)) throw invalidArgType(name, 'an array', value)
  return value
}

/** Takes bytes: any view on an ArrayBuffer or SharedArrayBuffer, or one of these. */
export function bytes(value: unknown, name: string): Uint8Array {
  if (value instanceof Uint8Array) return value
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return new Uint8Array(value)
  throw invalidArgType(name, 'a TypedArray, DataView, ArrayBuffer or SharedArrayBuffer', value)
}
