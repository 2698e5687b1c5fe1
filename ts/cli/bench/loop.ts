/** The measuring: requests for a while, with turns of plain copies between them. */
import { type DmaAccess, type DmaMapping, type DmaMappingBatch, type DmaRange, HostMemory } from '../../index.ts'
import { Histogram } from './histogram.ts'
import type { Job } from './job.ts'

/** What was done in one slice of time. */
export interface Slice {
  accesses: number
  nanoseconds: number
  /** Nanoseconds of one access, and of its share in a large native copy. */
  each: number
  memcpy: number
}

/** Makes a request of `depth` accesses, at `places`. */
export type Request = (places: Float64Array, reads: boolean) => void

/** How long a slice lasts, and which part of it goes to plain copies. */
const SLICE_MS = 50
const COPIES = 0.2
/** One of so many requests is timed by itself: reading the clock takes as long as a small access. */
const SAMPLE = 16
const HOT_PLACES = 64
/** Bytes of a plain copy: enough that calling it costs nothing beside it. */
const COPY = 256 << 10
/** What addresses of memory that is mapped are multiples of. */
const MAP_UNIT = 4096

/** Runs a job's requests slice by slice. */
export class Loop {
  readonly histogram = new Histogram()
  readonly #job: Job
  readonly #request: Request
  readonly #places: Float64Array
  readonly #from: HostMemory
  readonly #into: HostMemory
  #state: number
  #next = 0

  constructor(job: Job, request: Request, seed: number) {
    this.#job = job
    this.#request = request
    this.#places = new Float64Array(job.depth)
    // As much memory to copy from as the device has, up to what caches never hold.
    this.#from = HostMemory.allocate(Math.max(Math.min(job.size, 64 << 20), COPY))
    this.#from.fill(1)
    this.#into = HostMemory.allocate(COPY)
    this.#state = (seed * 0x9e37_79b9 + 1) >>> 0
  }

  [Symbol.dispose](): void {
    this.#from.close()
    this.#into.close()
  }

  /** Runs one slice. */
  slice(): Slice {
    const { depth } = this.#job
    const copies = this.#turn(SLICE_MS * COPIES, () => this.#copy())
    const requests = this.#turn(SLICE_MS * (1 - COPIES), (timed) => this.#submit(timed))
    const accesses = requests.count * depth
    return {
      accesses,
      nanoseconds: requests.nanoseconds,
      each: requests.nanoseconds / accesses,
      memcpy: ((copies.nanoseconds / copies.count) * this.#job.blockSize) / COPY,
    }
  }

  #turn(milliseconds: number, work: (timed: boolean) => void): { count: number; nanoseconds: number } {
    const began = performance.now()
    let count = 0
    let now = began
    while (now - began < milliseconds) {
      for (let i = 0; i < SAMPLE; i++) work(i === 0)
      count += SAMPLE
      now = performance.now()
    }
    return { count, nanoseconds: (now - began) * 1e6 }
  }

  #copy(): void {
    const sourceOffset = Math.floor(this.#random() * (this.#from.byteLength / COPY)) * COPY
    this.#into.copyFrom(this.#from, { sourceOffset, length: COPY })
  }

  #submit(timed: boolean): void {
    const { size, readPercent, depth } = this.#job
    for (let i = 0; i < depth; i++) this.#places[i] = this.#place(size)
    const reads = this.#random() * 100 < readPercent
    if (!timed) return this.#request(this.#places, reads)
    const began = process.hrtime.bigint()
    this.#request(this.#places, reads)
    this.histogram.add(Number(process.hrtime.bigint() - began))
  }

  #place(size: number): number {
    const { pattern, blockSize } = this.#job
    const places = Math.max(Math.floor(size / blockSize), 1)
    if (pattern === 'sequential') this.#next = (this.#next + 1) % places
    const among = pattern === 'hot' ? Math.min(places, HOT_PLACES) : places
    const place = pattern === 'sequential' ? this.#next : Math.floor(this.#random() * among)
    return Math.min(place * blockSize, size - blockSize)
  }

  /** A number below 1 (xorshift). */
  #random(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x >>> 0
    return this.#state / 2 ** 32
  }
}

/** Requests through a device's view of memory: one call for one access, one call for all of a batch. */
export function handleRequest(dma: DmaAccess, { blockSize, depth }: Job): Request {
  const data = new Uint8Array(blockSize * depth)
  if (depth === 1) {
    return (places, reads) => {
      const at = places[0] ?? 0
      if (reads) dma.read(at, data)
      else dma.write(at, data)
    }
  }
  const pairs = new BigUint64Array(2 * depth).fill(BigInt(blockSize))
  return (places, reads) => {
    for (let i = 0; i < depth; i++) pairs[2 * i] = BigInt(places[i] ?? 0)
    if (reads) dma.readBatch(pairs, data)
    else dma.writeBatch(pairs, data)
  }
}

/** What can be mapped with: a container, or another worker's. */
export interface Mapper {
  mapDma(mapping: DmaMapping): void
  mapDmaBatch(batch: DmaMappingBatch): void
  unmapDma(range: DmaRange): bigint
  unmapDmaBatch(pairs: BigUint64Array): void
}

/** Requests that map `depth` blocks of memory, at addresses that are this worker's own, and unmap them again. */
export function mapRequest(mapper: Mapper, memory: HostMemory, { blockSize, depth }: Job, worker: number): Request {
  const base = worker * 2 ** 41
  const offset = (place: number) => Math.min(place - (place % MAP_UNIT), memory.byteLength - blockSize)
  const access = { memory, read: true, write: true }
  if (depth === 1) {
    return ([place = 0]) => {
      mapper.mapDma({ ...access, iova: base, offset: offset(place), length: blockSize })
      mapper.unmapDma({ iova: base, length: blockSize })
    }
  }
  const triples = new BigUint64Array(3 * depth)
  const pairs = new BigUint64Array(2 * depth)
  return (places) => {
    for (let i = 0; i < depth; i++) {
      const iova = BigInt(base + i * blockSize)
      triples.set([BigInt(offset(places[i] ?? 0)), iova, BigInt(blockSize)], 3 * i)
      pairs.set([iova, BigInt(blockSize)], 2 * i)
    }
    mapper.mapDmaBatch({ ...access, triples })
    mapper.unmapDmaBatch(pairs)
  }
}
