/** What a process has mapped by itself, so that a child can have the same. */
import type { HostMemory } from '../memory/host-memory.ts'
import type { U64 } from '../shape.ts'

/** A part of a memory object at an address. */
export interface MappedArea {
  address: bigint
  memory: HostMemory
  offset: bigint
  length: bigint
  read: boolean
  write: boolean
  /** Size of huge pages behind it. */
  pageSize?: U64
}

/** Areas that do not overlap. */
export class MappedAreas {
  #areas: MappedArea[] = []

  /** Notes an area. */
  add(area: MappedArea): void {
    this.#areas.push(area)
  }

  /** Forgets what lies in a range; areas are cut as munmap cuts them. */
  cut(address: bigint, length: bigint): void {
    this.#areas = this.#areas.flatMap((area) => split(area, address, length).outside)
  }

  /** Changes what may be done with a range. */
  protect(address: bigint, length: bigint, access: { read: boolean; write: boolean }): void {
    this.#areas = this.#areas.flatMap((area) => {
      const { outside, inside } = split(area, address, length)
      return inside ? [...outside, { ...inside, ...access }] : outside
    })
  }

  [Symbol.iterator](): Iterator<MappedArea> {
    return [...this.#areas][Symbol.iterator]()
  }
}

function split(area: MappedArea, address: bigint, length: bigint): { outside: MappedArea[]; inside?: MappedArea } {
  const end = area.address + area.length
  const from = address > area.address ? address : area.address
  const to = address + length < end ? address + length : end
  if (from >= to) return { outside: [area] }
  const part = (start: bigint, stop: bigint): MappedArea[] =>
    start < stop
      ? [{ ...area, address: start, offset: area.offset + (start - area.address), length: stop - start }]
      : []
  const [inside] = part(from, to)
  const outside = [...part(area.address, from), ...part(to, end)]
  return inside ? { outside, inside } : { outside }
}
