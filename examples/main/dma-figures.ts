/**
 * A few seconds of DMA figures, beside plain copies of the same bytes: what a device's access through the simulated IOMMU
 * costs, and what mapping costs.
 *
 * Ratios are worth more than nanoseconds: contenders take turns, and each ratio is the median over the rounds of one run.
 * `memcpy` is `Uint8Array.set` from one array to another, the copy that JavaScript has.
 *
 *     node build/examples/main/dma-figures.js [--json]
 */
import { pathToFileURL } from 'node:url'
import {
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Container,
  type DmaAccess,
} from 'vfio'

type Tell = (line: string) => void

/** One figure: nanoseconds of one run, and how many times faster (above 1) or slower it is than what it is compared with. */
export interface Figure {
  name: string
  nanoseconds: number
  beside: string
  ratio: number
}

/** A way of doing something: runs it `count` times. */
type Contender = (count: number) => void

const ADDRESS = '0000:00:04.0'
const PAGE = 4096
const MEMORY = 64 << 20
const PAGES = MEMORY / PAGE
const SIZES = [64, 512, PAGE, 16 << 10, 64 << 10, 512 << 10, 2 << 20]
const BATCH = 1024
/** How many places the accesses go to. */
const PLACES = 256
const ROUNDS = 11
/** How long a contender runs in one round, and before the first. */
const TURN_MS = 5
const WARM_UP_MS = 20
const BAR = 16

/** The same memory twice in the device's address space: in one piece, and page by page in a mixed order. */
const CONTIGUOUS = 0
const FRAGMENTED = 1 << 30

/** A device that does nothing by itself: the figures use its DMA directly. */
class Mover extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 0x0d3a })
  }
}

/** Takes the figures and prints a table, and returns them. */
export function dmaFigures(tell: Tell = console.log): Figure[] {
  using host = new SoftwareHost()
  const mover = new Mover()
  host.pci.add(ADDRESS, mover, { driver: 'vfio-pci' })
  using container = host.openContainer()
  using group = host.openGroup(0)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  using memory = HostMemory.allocate(MEMORY)
  memory.fill(0x5a)
  container.mapDma({ iova: CONTIGUOUS, memory, read: true, write: true })
  container.mapDmaBatch({ memory, triples: mixedPages(), read: true, write: true })
  using device = group.getDevice(ADDRESS)
  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  config.writeU16(4, config.readU16(4) | 6)

  const figures = [...copies(mover.dma, tell), ...translations(mover.dma, tell)]
  container.unmapAll()
  return [...figures, ...mappings(container, memory, tell)]
}

/** Copies of several sizes, by the CPU and by the device. */
function copies(dma: DmaAccess, tell: Tell): Figure[] {
  tell('copies: 1.00 is as fast as memcpy\n')
  tell(`${' '.repeat(24)}${column('device, one piece')}${column('')}${column('device, 4 KiB fragments')}`.trimEnd())
  tell(`  size       memcpy     ${['reads', 'writes', 'reads', 'writes'].map(column).join('')}`.trimEnd())
  const source = new Uint8Array(MEMORY).fill(0xa5)
  return SIZES.flatMap((size) => {
    const into = new Uint8Array(size)
    const places = Array.from({ length: PLACES }, (_, i) => ((i * 7919) % (MEMORY / size)) * size)
    const views = places.map((at) => source.subarray(at, at + size))
    const reads = (base: number): Contender => over(places, (at) => dma.read(base + at, into))
    const writes = (base: number): Contender => over(places, (at) => dma.write(base + at, into))
    const [memcpy = 0, ...times] = compare([
      over(views, (view) => into.set(view)),
      reads(CONTIGUOUS),
      writes(CONTIGUOUS),
      reads(FRAGMENTED),
      writes(FRAGMENTED),
    ])
    const beside = `memcpy of ${bytes(size)}`
    const names = ['DMA read, one piece', 'DMA write, one piece', 'DMA read, fragments', 'DMA write, fragments']
    const figures = times.map((ns, i) => figure(`${names[i]}, ${bytes(size)}`, ns, beside, memcpy))
    tell(`  ${bytes(size).padEnd(8)}${time(memcpy)}     ${figures.map(({ ratio }) => bar(ratio)).join('  ')}`.trimEnd())
    return [figure(beside, memcpy, beside, memcpy), ...figures]
  })
}

/** Translations of addresses, one a call and many a call. */
function translations(dma: DmaAccess, tell: Tell): Figure[] {
  const iovas = BigUint64Array.from({ length: BATCH }, (_, i) => BigInt(FRAGMENTED + ((i * 7919) % PAGES) * PAGE))
  const hosts = new BigUint64Array(BATCH)
  const singles = Array.from(iovas, Number)
  const from = new Uint8Array(64)
  const into = new Uint8Array(64)
  const [memcpy = 0, single = 0, batch = 0] = compare([
    repeat(() => into.set(from)),
    over(singles, (iova) => dma.translate(iova, 'read')),
    repeat(() => dma.translateBatch(iovas, 'read', hosts)),
  ])
  const beside = 'memcpy of 64 B'
  const figures = [
    figure('translate, one a call', single, beside, memcpy),
    figure(`translate, ${BATCH} a call`, batch / BATCH, beside, memcpy),
  ]
  tell(`\ntranslations of one address among ${PAGES} pages, beside a memcpy of 64 B`)
  tellTimes(figures, tell)
  return figures
}

/** Mapping and unmapping, in one piece and page by page. */
function mappings(container: Container, memory: HostMemory, tell: Tell): Figure[] {
  const pages = 512
  const triples = mixedPages().slice(0, 3 * pages)
  const at = (i: number): number => FRAGMENTED + i * PAGE
  const pairs = BigUint64Array.from({ length: 2 * pages }, (_, i) => BigInt(i % 2 === 1 ? PAGE : at(i >> 1)))
  const into = new Uint8Array(PAGE)
  const from = new Uint8Array(PAGE)
  const [memcpy = 0, whole = 0, single = 0, batch = 0] = compare([
    repeat(() => into.set(from)),
    repeat(() => {
      container.mapDma({ iova: CONTIGUOUS, memory, read: true, write: true })
      container.unmapDma({ iova: CONTIGUOUS, length: MEMORY })
    }),
    repeat(() => {
      for (let i = 0; i < pages; i++) {
        container.mapDma({ iova: at(i), memory, offset: i * PAGE, length: PAGE, read: true, write: true })
      }
      for (let i = 0; i < pages; i++) container.unmapDma({ iova: at(i), length: PAGE })
    }),
    repeat(() => {
      container.mapDmaBatch({ memory, triples, read: true, write: true })
      container.unmapDmaBatch(pairs.slice())
    }),
  ])
  const beside = 'memcpy of 4 KiB'
  const figures = [
    figure(`map and unmap ${bytes(MEMORY)} in one piece`, whole, beside, memcpy),
    figure('map and unmap a page, one a call', single / pages, beside, memcpy),
    figure(`map and unmap a page, ${pages} a call`, batch / pages, beside, memcpy),
  ]
  tell('\nmappings, beside a memcpy of 4 KiB')
  tellTimes(figures, tell)
  return figures
}

/** Triples that map every page of the memory on its own, no neighbours beside each other. */
function mixedPages(): BigUint64Array {
  const triples = new BigUint64Array(3 * PAGES)
  for (let i = 0; i < PAGES; i++) {
    const page = (i * 9973) % PAGES
    triples.set([BigInt(page * PAGE), BigInt(FRAGMENTED + i * PAGE), BigInt(PAGE)], 3 * i)
  }
  return triples
}

/** Runs `act` again and again, on one item after the other. */
function over<T>(items: readonly T[], act: (item: T) => void): Contender {
  let next = 0
  return (count) => {
    for (let i = 0; i < count; i++) {
      act(items[next] as T)
      next = (next + 1) % items.length
    }
  }
}

function repeat(act: () => void): Contender {
  return (count) => {
    for (let i = 0; i < count; i++) act()
  }
}

/** Has the contenders take turns, and gives the median of the nanoseconds that one run of each takes. */
function compare(contenders: readonly Contender[]): number[] {
  const counts = contenders.map((contender) => {
    let count = 1
    let last = elapsed(contender, count)
    for (let spent = last; spent < WARM_UP_MS * 1e6; spent += last) {
      if (last < (TURN_MS * 1e6) / 2) count *= 2
      last = elapsed(contender, count)
    }
    return count
  })
  const rounds = Array.from({ length: ROUNDS }, () =>
    contenders.map((contender, i) => elapsed(contender, counts[i] ?? 1) / (counts[i] ?? 1)),
  )
  return contenders.map((_, i) => median(rounds.map((round) => round[i] ?? 0)))
}

function elapsed(contender: Contender, count: number): number {
  const began = process.hrtime.bigint()
  contender(count)
  return Number(process.hrtime.bigint() - began)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

function figure(name: string, nanoseconds: number, beside: string, reference: number): Figure {
  return { name, nanoseconds, beside, ratio: reference / nanoseconds }
}

function tellTimes(figures: readonly Figure[], tell: Tell): void {
  for (const { name, nanoseconds, ratio } of figures)
    tell(`  ${name.padEnd(36)}${time(nanoseconds)}  ${bar(ratio)}`.trimEnd())
}

/** A ratio as a bar; a whole one is 1, what is faster ends in an arrow. */
function bar(ratio: number): string {
  const eighths = Math.round(Math.min(ratio, 1) * BAR * 8)
  const drawn = '█'.repeat(eighths >> 3) + (' ▏▎▍▌▋▊▉'[eighths & 7] ?? '').trim() + (ratio > 1.05 ? '▶' : '')
  return `${ratio.toFixed(2).padStart(6)} ${drawn.padEnd(BAR + 1)}`
}

function column(title: string): string {
  return `  ${title}`.padEnd(BAR + 10)
}

function time(ns: number): string {
  const text =
    ns < 1000 ? `${ns.toFixed(1)} ns` : ns < 1e6 ? `${(ns / 1000).toFixed(1)} µs` : `${(ns / 1e6).toFixed(2)} ms`
  return text.padStart(9)
}

function bytes(size: number): string {
  if (size < 1024) return `${size} B`
  return size < 1 << 20 ? `${size >> 10} KiB` : `${size >> 20} MiB`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const json = process.argv.includes('--json')
  const figures = dmaFigures(json ? () => {} : console.log)
  if (json) console.log(JSON.stringify(figures, null, 2))
}
