/**
 * Codecs of uapi structures: bytes to plain objects and back, by a layout that can be inspected.
 *
 * Bytes are little-endian, as on the machines that are simulated. Decoded objects have camelCase properties; the layout
 * keeps the C names. Members of a nested structure are flattened: `ddw.levels` becomes `ddwLevels`.
 */

/** Type of a scalar member, or of the elements of an array. */
export type ScalarType = 'u8' | 'u16' | 'u32' | 'u64' | 's32' | 's64'

/** Where a member lies. `count` is the number of elements of an array, 0 for a scalar. */
export interface FieldLayout {
  readonly type: ScalarType
  readonly offset: number
  readonly count: number
}

/** A member: its layout, its C name where the property's differs, and the type of its value. */
export interface Field<T extends FieldValue> extends FieldLayout {
  readonly cName?: string | undefined
  /** Marks the type of the value; never set. */
  readonly value?: T
}

/** Value of a member: up to 32 bits a number, 64 bits a bigint, an array its bytes. */
export type FieldValue = number | bigint | Uint8Array

/** Members by property. */
export type Fields = Readonly<Record<string, Field<number> | Field<bigint> | Field<Uint8Array>>>

/** Object that a structure decodes to. */
export type Decoded<F extends Fields> = { -readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never }

/** Reads and writes one structure. */
export interface Codec<F extends Fields = Fields> {
  /** C name. */
  readonly name: string
  /** Size in bytes, without a trailing array. */
  readonly size: number
  /** Members by C name, in order of their offsets. */
  readonly fields: Readonly<Record<string, FieldLayout>>
  /** Reads the structure at `at`. @throws {RangeError} too few bytes */
  decode(bytes: Uint8Array, at?: number): Decoded<F>
  /** Writes the given members at `at` and leaves the other bytes alone. @throws {RangeError} too few bytes */
  encode(value: Partial<Decoded<F>>, into: Uint8Array, at?: number): void
  /** Makes the bytes of a structure whose other members are 0. */
  bytes(value?: Partial<Decoded<F>>): Uint8Array
}

/** A codec whatever its members. */
export interface AnyCodec extends Pick<Codec, 'name' | 'size' | 'fields'> {
  /** Reads a structure from `at` on. */
  decode(bytes: Uint8Array, at?: number): Record<string, FieldValue>
  /** Writes the fields given, and no others, from `at` on. */
  encode(value: Record<string, FieldValue>, into: Uint8Array, at?: number): void
  /** Makes a structure; fields that are not given are zero. */
  bytes(value?: Record<string, FieldValue>): Uint8Array
}

/** A capability of an info structure: its layout, header included, and the array that may follow. */
export interface CapabilityCodec {
  readonly name: string
  readonly codec: AnyCodec
  readonly array?: { readonly name: string; readonly countedBy: string; readonly element: AnyCodec }
}

const WIDTH: Record<ScalarType, number> = { u8: 1, u16: 2, u32: 4, u64: 8, s32: 4, s64: 8 }

/** Describes a `__u8`. */
export const u8 = (offset: number, cName?: string): Field<number> => ({ type: 'u8', offset, count: 0, cName })
/** Describes a `__u16`. */
export const u16 = (offset: number, cName?: string): Field<number> => ({ type: 'u16', offset, count: 0, cName })
/** Describes a `__u32`. */
export const u32 = (offset: number, cName?: string): Field<number> => ({ type: 'u32', offset, count: 0, cName })
/** Describes a `__s32`. */
export const s32 = (offset: number, cName?: string): Field<number> => ({ type: 's32', offset, count: 0, cName })
/** Describes a `__u64`. */
export const u64 = (offset: number, cName?: string): Field<bigint> => ({ type: 'u64', offset, count: 0, cName })
/** Describes a `__s64`. */
export const s64 = (offset: number, cName?: string): Field<bigint> => ({ type: 's64', offset, count: 0, cName })
/** Describes an array of `__u8`. */
export const u8s = (offset: number, count: number, cName?: string): Field<Uint8Array> => ({
  type: 'u8',
  offset,
  count,
  cName,
})
/** Describes an array of `__u64`. */
export const u64s = (offset: number, count: number, cName?: string): Field<Uint8Array> => ({
  type: 'u64',
  offset,
  count,
  cName,
})

/** Makes the codec of a structure. */
export function struct<F extends Fields>(name: string, size: number, fields: F): Codec<F> {
  const members = Object.entries(fields)
  const layout = Object.fromEntries(
    members.map(([property, { type, offset, count, cName }]) => [cName ?? property, { type, offset, count }]),
  )

  function decode(bytes: Uint8Array, at = 0): Decoded<F> {
    const view = window(bytes, at, size, name)
    return Object.fromEntries(members.map(([property, field]) => [property, read(view, field)])) as Decoded<F>
  }

  function encode(value: Partial<Decoded<F>>, into: Uint8Array, at = 0): void {
    const view = window(into, at, size, name)
    for (const [property, field] of members) {
      const member: FieldValue | undefined = value[property]
      if (member !== undefined) write(view, field, member)
    }
  }

  function bytes(value: Partial<Decoded<F>> = {}): Uint8Array {
    const made = new Uint8Array(size)
    encode(value, made)
    return made
  }

  return { name, size, fields: layout, decode, encode, bytes }
}

function window(bytes: Uint8Array, at: number, size: number, name: string): DataView {
  if (!(at >= 0 && at + size <= bytes.byteLength)) {
    throw new RangeError(`${name} has ${size} bytes; ${Math.max(0, bytes.byteLength - at)} are left at ${at}`)
  }
  return new DataView(bytes.buffer, bytes.byteOffset + at, size)
}

function read(view: DataView, { type, offset, count }: FieldLayout): FieldValue {
  if (count > 0) return new Uint8Array(view.buffer, view.byteOffset + offset, count * WIDTH[type]).slice()
  switch (type) {
    case 'u8':
      return view.getUint8(offset)
    case 'u16':
      return view.getUint16(offset, true)
    case 'u32':
      return view.getUint32(offset, true)
    case 's32':
      return view.getInt32(offset, true)
    case 'u64':
      return view.getBigUint64(offset, true)
    case 's64':
      return view.getBigInt64(offset, true)
  }
}

function write(view: DataView, { type, offset, count }: FieldLayout, value: FieldValue): void {
  if (value instanceof Uint8Array) {
    const room = (count || 1) * WIDTH[type]
    new Uint8Array(view.buffer, view.byteOffset + offset, room).set(value.subarray(0, room))
    return
  }
  switch (WIDTH[type]) {
    case 1:
      return view.setUint8(offset, Number(value))
    case 2:
      return view.setUint16(offset, Number(value), true)
    case 4:
      return view.setUint32(offset, Number(value), true)
    default:
      return view.setBigUint64(offset, BigInt(value), true)
  }
}
