/** A definition of a mediated device: the JSON that mdevctl keeps, one file each. */
import { VfioError } from '../../index.ts'

/** What a device is made of, besides its UUID and its parent. */
export interface Definition {
  readonly mdevType: string
  /** `auto`: it is started when its parent appears. */
  readonly start: 'auto' | 'manual'
  /** Attributes to be written, in this order, once it is there. */
  readonly attrs: readonly (readonly [name: string, value: string])[]
}

/** As mdevctl writes it. */
export interface DefinitionJson {
  attrs: Record<string, string>[]
  mdev_type: string
  start: 'auto' | 'manual'
}

/** A definition as JSON, keys in mdevctl's order. */
export function definitionJson({ mdevType, start, attrs }: Definition): DefinitionJson {
  return { mdev_type: mdevType, start, attrs: attrs.map(([name, value]) => ({ [name]: value })) }
}

/** Reads a definition. @throws {VfioError} EINVAL it is none; `source` names where it stands */
export function parseDefinition(text: string, source: string): Definition {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw wrong(source, 'it is no JSON', cause)
  }
  const { mdev_type: mdevType, start, attrs = [] } = (json ?? {}) as Partial<Record<keyof DefinitionJson, unknown>>
  if (typeof mdevType !== 'string') throw wrong(source, 'mdev_type is no text')
  if (typeof start !== 'string') throw wrong(source, `start is neither 'auto' nor 'manual'`)
  if (attrs !== null && !Array.isArray(attrs)) throw wrong(source, 'attrs is no array')
  const read = ((attrs ?? []) as unknown[]).map((attr): [string, string] => {
    const entries = typeof attr === 'object' && attr !== null ? Object.entries(attr) : []
    const [name, value] = entries[0] ?? []
    if (entries.length !== 1 || name === undefined || typeof value !== 'string') {
      throw wrong(source, 'an attribute is no object with one text')
    }
    return [name, value]
  })
  return { mdevType, start: start === 'auto' ? 'auto' : 'manual', attrs: read }
}

function wrong(path: string, reason: string, cause?: unknown): VfioError {
  return new VfioError('EINVAL', 'definition', { path, reason, ...(cause === undefined ? {} : { cause }) })
}
