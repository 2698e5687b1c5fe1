/**
 * A few seconds of DMA figures, beside plain copies of the same bytes: what a device's access through the simulated IOMMU
 * costs, and what mapping costs.
 *
 * Ratios are worth more than nanoseconds: the figures of one run were taken under the same conditions.
 */
import { pathToFileURL } from 'node:url'
import {
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type Container,
} from 'vfio'

type Tell = (line: string) => void

const ADDRESS = '0000:00:04.0'
const PAGE = 4096
const MEMORY = 64 << 20
const SIZES = [64, PAGE, 64 << 10, 1 << 20]
/** How long each figure is taken, after a warm-up. */
const MEASURE_MS = 150

/** A device that does nothing by itself: the figures use its DMA directly. */
class Mover extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 0x0d3a })
  }
}

/** Takes the figures and prints them. */
export function dmaFigures(tell: Tell = console.log): void {
  using host = new SoftwareHost()
  const mover = new Mover()
  host.pci.add(ADDRESS, mover, { driver: 'vfio-pci' })
  using container = host.openContainer()
  using group = host.openGroup(0)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  using memory = HostMemory.allocate(MEMORY)
  memory.fill(0x5a)
  using device = group.getDevice(ADDRESS)
  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  config.writeU16(4, config.readU16(4) | 6)

  copies(container, mover, memory, tell)
  mappings(container, memory, tell)
}

/** Copies of several sizes, at places that change. */
function copies(container: Container, mover: Mover, memory: HostMemory, tell: Tell): void {
  container.mapDma({ iova: 0, memory, read: true, write: true })
  const { dma } = mover
  const source = new Uint8Array(MEMORY).fill(0xa5)
  tell(row('one copy of', 'memcpy', 'own memory', 'DMA read', 'DMA write', 'DMA read / memcpy'))
  for (const size of SIZES) {
    const into = new Uint8Array(size)
    const places = MEMORY / size
    let at = 0
    const next = () => (at = (at + 7919) % places) * size
    const memcpy = measure(() => into.set(source.subarray(next(), at * size + size)))
    const own = measure(() => memory.copyTo(into, next()))
    const read = measure(() => dma.read(BigInt(next()), into))
    const write = measure(() => dma.write(BigInt(next()), into))
    const ratio = `${(read / memcpy).toFixed(1)}×`
    tell(row(bytes(size), time(memcpy), time(own), time(read), time(write), ratio))
  }
  container.unmapAll()
}

/** Mapping and unmapping, in one piece and page by page. */
function mappings(container: Container, memory: HostMemory, tell: Tell): void {
  const pages = 512
  const triples = BigUint64Array.from({ length: 3 * pages }, (_, i) =>
    BigInt(i % 3 === 2 ? PAGE : Math.floor(i / 3) * 2 * PAGE),
  )
  const pairs = () =>
    BigUint64Array.from({ length: 2 * pages }, (_, i) => BigInt(i % 2 === 1 ? PAGE : (i / 2) * 2 * PAGE))
  const whole = measure(() => {
    container.mapDma({ iova: 0, memory, read: true, write: true })
    container.unmapDma({ iova: 0, length: MEMORY })
  })
  const single = measure(() => {
    for (let i = 0; i < pages; i++) {
      container.mapDma({ iova: 2 * i * PAGE, memory, offset: 2 * i * PAGE, length: PAGE, read: true, write: true })
    }
    for (let i = 0; i < pages; i++) container.unmapDma({ iova: 2 * i * PAGE, length: PAGE })
  })
  const batch = measure(() => {
    container.mapDmaBatch({ memory, triples, read: true, write: true })
    container.unmapDmaBatch(pairs())
  })
  tell('')
  tell(`map and unmap ${bytes(MEMORY)} in one piece: ${time(whole)}`)
  tell(
    `map and unmap ${pages} single pages: ${time(single / pages)} each by calls, ${time(batch / pages)} each in a batch`,
  )
}

/** Nanoseconds that one run takes. */
function measure(run: () => void): number {
  const until = (ms: number): [runs: number, ns: number] => {
    let runs = 0
    let step = 1
    const began = process.hrtime.bigint()
    let now = began
    while (Number(now - began) < ms * 1e6) {
      for (let i = 0; i < step; i++) run()
      runs += step
      if (step < 1024) step *= 2
      now = process.hrtime.bigint()
    }
    return [runs, Number(now - began)]
  }
  until(MEASURE_MS / 5)
  const [runs, ns] = until(MEASURE_MS)
  return ns / runs
}

function row(...cells: string[]): string {
  return cells.map((cell, i) => (i === 0 ? cell.padEnd(12) : cell.padStart(i === 5 ? 20 : 12))).join('')
}

function time(ns: number): string {
  if (ns < 1000) return `${ns.toFixed(0)} ns`
  return ns < 1e6 ? `${(ns / 1000).toFixed(1)} µs` : `${(ns / 1e6).toFixed(2)} ms`
}

function bytes(size: number): string {
  if (size < 1024) return `${size} B`
  return size < 1 << 20 ? `${size >> 10} KiB` : `${size >> 20} MiB`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) dmaFigures()
