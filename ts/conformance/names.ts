/** The symbolic names of a scenario: handles, buffers, mappings and object ids, and the values that speak of them. */
import { big } from './number.ts'
import { isRecord } from './scenario.ts'

const NO_SUCH_ID = 0x7fff_ffffn

/** What names stand for while a scenario runs. */
export interface NameSpace {
  /** Descriptor number of a handle, -1 where it does not exist. */
  fd(handle: string): number
  /** Address of a buffer. */
  buffer(name: string): bigint
  /** Address of a mapping made by mmap. */
  mapping(name: string): bigint
  /** Address of an int32 that holds `value`. */
  pointerTo(value: number): bigint
}

/** Resolves values against a name space; object ids are kept here. */
export class Names {
  readonly #space: NameSpace
  readonly #ids = new Map<string, bigint>()

  constructor(space: NameSpace) {
    this.#space = space
  }

  /** Remembers an object id. */
  saveId(name: string, id: bigint): void {
    this.#ids.set(name, id)
  }

  /** Resolves a scalar value. @throws {Error} neither a number nor a known form */
  value(item: unknown): bigint {
    if (!isRecord(item)) return big(item)
    const offset = item['offset'] === undefined ? 0n : big(item['offset'])
    if (typeof item['buf'] === 'string') return this.#space.buffer(item['buf']) + offset
    if (typeof item['map'] === 'string') return this.#space.mapping(item['map']) + offset
    if (typeof item['handle'] === 'string') return BigInt(this.#space.fd(item['handle']))
    if (typeof item['id'] === 'string') return this.#ids.get(item['id']) ?? NO_SUCH_ID
    if (item['fdptr'] !== undefined) return this.#space.pointerTo(Number(this.value(item['fdptr'])))
    throw new Error(`unknown value: ${JSON.stringify(item)}`)
  }
}
