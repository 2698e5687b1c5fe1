/** The machine that `vfio bench` measures: one function behind an IOMMU, and its memory. */
import {
  DmaEngine,
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Container,
  type Device,
  type EventFd,
  shareDma,
} from '../../index.ts'
import type { Job } from './job.ts'
import { handleRequest, mapRequest, type Request } from './loop.ts'

const ADDRESS = '0000:00:04.0'
const COMMAND = 4
const MEMORY_AND_MASTER = 6
const { ENTRY_SIZE, REGISTERS } = DmaEngine
/** Where the ring lies, beyond the memory; a power of two of entries, more than any depth. */
const RING_ENTRIES = 1024
/** Mappings beside those of the job: of the ring, and what the workers make. */
const SPARE_MAPPINGS = 65_536

/** Hands entries to the engine, and returns when they are done. */
type Submit = (entries: Uint8Array, count: number) => void

/** A device whose memory is reached from outside. */
class Mover extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 0x0d3a })
  }
}

/** Tokens for a worker: the device's view, or the mappings and the memory to map. */
export type SharedHandles = { dma: bigint } | { domain: bigint; memory: bigint }

/** Everything that a job needs, until it is closed. */
export class BenchMachine {
  readonly #job: Job
  readonly #stack: Disposable[] = []
  readonly #mover = new Mover()
  readonly #container: Container
  readonly #memory: HostMemory
  readonly #ring: Submit | undefined

  constructor(job: Job) {
    this.#job = job
    const host = this.#keep(new SoftwareHost({ dmaEntryLimit: job.mappings + SPARE_MAPPINGS }))
    host.pci.add(ADDRESS, job.engine === 'ring' ? new DmaEngine() : this.#mover, { driver: 'vfio-pci' })
    const container = this.#keep(host.openContainer())
    const group = this.#keep(host.openGroup(0))
    group.setContainer(container)
    container.setIommu(VFIO_TYPE1v2_IOMMU)
    const memory = this.#keep(HostMemory.allocate(job.size))
    mapMemory(container, memory, job)
    this.#container = container
    this.#memory = memory
    const device = this.#keep(group.getDevice(ADDRESS))
    const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
    config.writeU16(COMMAND, config.readU16(COMMAND) | MEMORY_AND_MASTER)
    if (job.engine !== 'ring') return
    const ring = this.#keep(HostMemory.allocate(RING_ENTRIES * ENTRY_SIZE))
    const done = job.completion === 'msix' ? this.#keep(device.irq(VFIO_PCI_MSIX_IRQ_INDEX).enable(1)) : undefined
    this.#ring = startRing(container, device, ring, job.size, done?.vector(0))
  }

  /** Makes requests in the manner of the job. */
  request(): Request {
    if (this.#ring !== undefined) return ringRequest(this.#ring, this.#job)
    if (this.#job.engine === 'map') return mapRequest(this.#container, this.#memory, this.#job, 1)
    return handleRequest(this.#mover.dma, this.#job)
  }

  /** What a worker needs to make them on the same core objects. */
  share(): SharedHandles {
    if (this.#job.engine === 'map') return { domain: this.#container.share(), memory: this.#memory.share() }
    return { dma: shareDma(this.#mover.dma) }
  }

  [Symbol.dispose](): void {
    for (const resource of this.#stack.splice(0).toReversed()) resource[Symbol.dispose]()
  }

  #keep<T extends Disposable>(resource: T): T {
    this.#stack.push(resource)
    return resource
  }
}

/** Maps memory from address 0 on, in pieces of which some lie apart from their neighbours. */
function mapMemory(container: Container, memory: HostMemory, job: Job): void {
  memory.fill(0x5a)
  const { mappings, pageSize, size, fragmentation } = job
  const pages = Math.floor(size / pageSize)
  const edges = Array.from({ length: mappings + 1 }, (_, at) => Math.floor((pages * at) / mappings) * pageSize)
  edges[mappings] = size
  const lengths = edges.slice(1).map((end, at) => end - (edges[at] ?? 0))
  // Pieces of different lengths cannot change places, so the order in which they lie is shuffled.
  const order = lengths.map((_, at) => at)
  const swaps = Math.floor((mappings * fragmentation) / 200)
  for (let i = 0; i < swaps; i++) {
    const [a, b] = [(i * 2) % mappings, (i * 7919 + 13) % mappings]
    ;[order[a], order[b]] = [order[b] ?? 0, order[a] ?? 0]
  }
  let offset = 0
  for (const piece of order) {
    const length = lengths[piece] ?? 0
    container.mapDma({ iova: edges[piece] ?? 0, memory, offset, length, read: true, write: true })
    offset += length
  }
}

/**
 * Tells the engine where its ring is, and returns what hands entries to it: done when the head has come to the tail, or when
 * `event` was signalled.
 */
function startRing(
  container: Container,
  device: Device,
  memory: HostMemory,
  size: number,
  event: EventFd | undefined,
): Submit {
  const iova = Math.ceil(size / 2 ** 30) * 2 ** 30 + 2 ** 30
  container.mapDma({ iova, memory, read: true, write: true })
  const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
  bar.writeU64(REGISTERS.ring, BigInt(iova))
  bar.writeU32(REGISTERS.entries, RING_ENTRIES)
  bar.writeU32(REGISTERS.control, 1)
  let head = 0
  return (entries: Uint8Array, count: number): void => {
    const first = Math.min(count, RING_ENTRIES - head)
    memory.write(head * ENTRY_SIZE, entries.subarray(0, first * ENTRY_SIZE))
    if (first < count) memory.write(0, entries.subarray(first * ENTRY_SIZE))
    head = (head + count) % RING_ENTRIES
    bar.writeU32(REGISTERS.tail, head)
    const done = event === undefined ? bar.readU32(REGISTERS.head) === head : event.read() !== undefined
    if (!done) throw new Error('the engine stopped: it could not reach its ring')
  }
}

/** Requests by descriptors; data moves between a place and the one that lies as far from the other end. */
function ringRequest(submit: Submit, job: Job): Request {
  const { blockSize, depth, operation, completion, size } = job
  const entries = new Uint8Array(depth * ENTRY_SIZE)
  return (places) => {
    for (let i = 0; i < depth; i++) {
      const source = places[i] ?? 0
      const destination = Math.max(size - blockSize - source, 0)
      const interrupt = completion === 'msix' && i === depth - 1
      DmaEngine.encode({ operation, length: blockSize, source, destination, interrupt }, entries, i)
    }
    submit(entries, depth)
  }
}
