/**
 * Arguments of ioctl steps: building the struct that the call gets, and telling what the call changed in it.
 */
import { INFO_CAPABILITIES, STRUCTS, type CapabilityCodec, type StructCodec } from './layout.ts'
import { bytesOf, hex, hexBytes, small, smallOr } from './number.ts'
import { isRecord, type Numeric } from './scenario.ts'
import type { Answer } from './compare.ts'
import type { Names } from './names.ts'

const MAX_ZERO_FILL = 65536

/** A built argument: the bytes that the call may change, and how to read them afterwards. */
export interface StructArgument {
  bytes: Uint8Array
  codec: StructCodec
  /** Layout and place of the `$struct` payload behind the fixed struct. */
  payload: { codec: StructCodec; at: number } | undefined
}

/** Builds a struct argument from `arg`. @throws {Error} unknown struct or field */
export function buildStruct(structName: string, arg: Record<string, unknown>, names: Names): StructArgument {
  const codec = structOf(structName)
  const fixed = new Uint8Array(codec.size)
  const hasOwnData = 'data' in codec.fields
  const fields = Object.entries(arg).filter(
    ([key]) => key !== 'total' && key !== 'tail' && key !== '$struct' && (key !== 'data' || hasOwnData),
  )
  writeFields(codec, Object.fromEntries(fields), fixed, names)

  const parts: Uint8Array[] = [fixed]
  let payload: StructArgument['payload']
  const data = hasOwnData ? undefined : arg['data']
  if (typeof data === 'string') parts.push(bytesOf(data))
  else if (isRecord(data)) {
    const built = buildPayload(data, names)
    if (built.codec !== undefined) payload = { codec: built.codec, at: codec.size }
    parts.push(built.bytes)
  }
  if (arg['tail'] !== undefined) parts.push(bytesOf(arg['tail']))
  const used = parts.reduce((sum, part) => sum + part.byteLength, 0)
  const announced = Math.min(smallOr((arg['argsz'] ?? arg['size']) as Numeric | undefined, 0), MAX_ZERO_FILL)
  const total = smallOr(arg['total'] as Numeric | undefined, 0)
  const bytes = new Uint8Array(Math.max(used, announced, total))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return { bytes, codec, payload }
}

function buildPayload(data: Record<string, unknown>, names: Names): { bytes: Uint8Array; codec?: StructCodec } {
  if (Array.isArray(data['$s32'])) {
    const values = data['$s32'].map((item) => Number(BigInt.asIntN(32, names.value(item))))
    return { bytes: new Uint8Array(Int32Array.from(values).buffer) }
  }
  if (Array.isArray(data['$u8'])) return { bytes: Uint8Array.from(data['$u8'].map((item) => small(item))) }
  const name = data['$struct']
  if (typeof name !== 'string') throw new Error(`unknown payload: ${JSON.stringify(data)}`)
  const codec = structOf(name)
  const bytes = new Uint8Array(codec.size)
  writeFields(codec, Object.fromEntries(Object.entries(data).filter(([key]) => key !== '$struct')), bytes, names)
  return { bytes, codec }
}

function structOf(name: string): StructCodec {
  const codec = STRUCTS[name]
  if (codec === undefined) throw new Error(`unknown struct ${name}`)
  return codec
}

function writeFields(codec: StructCodec, fields: Record<string, unknown>, into: Uint8Array, names: Names): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
  for (const [name, value] of Object.entries(fields)) {
    const field = codec.fields[name]
    if (field === undefined) throw new Error(`struct ${codec.name} has no field ${name}`)
    if (field.count > 0) {
      into.set(bytesOf(value), field.offset)
      continue
    }
    const number = names.value(value)
    const width = Number(field.type.slice(1)) / 8
    for (let i = 0; i < width; i++) view.setUint8(field.offset + i, Number((number >> BigInt(8 * i)) & 0xffn))
  }
}

/** Reads one field as vectors show it. */
export function readField(codec: StructCodec, name: string, from: Uint8Array, at = 0): string {
  const field = codec.fields[name]
  if (field === undefined) throw new Error(`struct ${codec.name} has no field ${name}`)
  const width = Number(field.type.slice(1)) / 8
  if (field.count > 0) return hexBytes(from.subarray(at + field.offset, at + field.offset + width * field.count))
  let value = 0n
  for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(from[at + field.offset + i] ?? 0)
  return hex(value)
}

/** The fields that differ between two states of a struct. */
export function changedFields(codec: StructCodec, before: Uint8Array, after: Uint8Array, at = 0): Answer {
  const changed: Answer = {}
  for (const name of Object.keys(codec.fields)) {
    const value = readField(codec, name, after, at)
    if (value !== readField(codec, name, before, at)) changed[name] = value
  }
  return changed
}

/** What follows the struct and its payload, where it changed, without trailing zero bytes. */
export function changedTail(argument: StructArgument, before: Uint8Array): string | undefined {
  const from = argument.payload === undefined ? argument.codec.size : argument.payload.at + argument.payload.codec.size
  const after = argument.bytes.subarray(from)
  if (hexBytes(after) === hexBytes(before.subarray(from))) return undefined
  return hexBytes(after).replace(/(00)+$/, '')
}

/** Decodes the capability chain of an info struct. */
export function decodeCapabilities(argument: StructArgument): Answer[] {
  const { bytes, codec } = argument
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const known = INFO_CAPABILITIES[codec.name]
  if (known === undefined || !('cap_offset' in codec.fields)) return []
  const argsz = Math.min(Number(readField(codec, 'argsz', bytes)), bytes.byteLength)
  const chain: Answer[] = []
  let at = Number(readField(codec, 'cap_offset', bytes))
  while (at !== 0 && at + 8 <= argsz && chain.length < 64) {
    const id = view.getUint16(at, true)
    const capability: Answer = { id, version: view.getUint16(at + 2, true) }
    const shape = known[id]
    if (shape !== undefined) Object.assign(capability, { name: shape.name }, decodeCapability(shape, bytes, at))
    chain.push(capability)
    at = view.getUint32(at + 4, true)
  }
  return chain
}

const HEADER = new Set(['header.id', 'header.version', 'header.next', 'id', 'version', 'next'])

function decodeCapability(shape: CapabilityCodec, from: Uint8Array, at: number): Answer {
  const out: Answer = {}
  for (const field of Object.keys(shape.codec.fields)) {
    if (!HEADER.has(field)) out[field] = readField(shape.codec, field, from, at)
  }
  if (shape.array !== undefined) {
    const { name, countedBy, element } = shape.array
    const start = at + shape.codec.size
    const room = Math.floor((from.byteLength - start) / element.size)
    const count = Math.min(Number(out[countedBy]), Math.max(room, 0))
    out[name] = Array.from({ length: count }, (_, i) => {
      const fields = Object.keys(element.fields)
      return Object.fromEntries(
        fields.map((field) => [field, readField(element, field, from, start + i * element.size)]),
      )
    })
  }
  return out
}
