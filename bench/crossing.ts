/**
 * P9: what crossing into the addon costs, in tinybench.
 *
 * The contenders take turns, round by round. The Rust side of the comparison is another process, which runs between the
 * rounds.
 */
import { createRequire } from 'node:module'
import { readdirSync } from 'node:fs'
import { Bench } from 'tinybench'
import {
  HostMemory,
  PciModel,
  SoftwareHost,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
  type DmaAccess,
} from 'vfio'
import { median, rowOf, type Check, type Contest, type Goal } from './goal.ts'
import { rustGoal } from './rust.ts'

const ADDRESS = '0000:00:04.0'
const PAGE = 4096
const PAGES = 262_144
const BASE = 0x1_0000_0000
const BATCH = 1024
const COPY = 65_536
const ROUNDS = 11
const KOFFI = 'koffi, fabs()'
/** Calls of one iteration, so that the clock is read seldom. */
const CALLS = 1000

class Mover extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 0x0d3a })
  }
}

type Work = [name: string, operations: number, run: () => void]
type Echo = (value: number) => number

/** The native call that does nothing but take and return a number. */
function bareCall(): Echo {
  const folder = new URL('../../native/', import.meta.url)
  const file = readdirSync(folder).find((name) => name.endsWith('.node'))
  if (file === undefined) throw new Error('there is no addon in native/')
  const { debugEcho } = createRequire(import.meta.url)(new URL(file, folder).pathname) as { debugEcho: Echo }
  return debugEcho
}

/** The same through the foreign function interface of koffi, which calls a function of the C library; undefined: not installed. */
function koffiCall(): Echo | undefined {
  try {
    const koffi = createRequire(new URL('../../bench/peers/package.json', import.meta.url))('koffi') as {
      load(library: string): { func(prototype: string): Echo }
    }
    return koffi.load('libm.so.6').func('double fabs(double)')
  } catch {
    return undefined
  }
}

/** Measures P9. */
export async function crossing(quick: boolean): Promise<Goal> {
  using host = new SoftwareHost()
  const mover = new Mover()
  host.pci.add(ADDRESS, mover, { driver: 'vfio-pci' })
  using container = host.openContainer()
  using group = host.openGroup(0)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  using memory = HostMemory.allocate(PAGES * PAGE)
  const pieces = 256
  for (let piece = 0; piece < pieces; piece++) {
    // In pieces of 4 MiB, the last first; the pages of a piece are leaves of 2 MiB.
    const length = (PAGES * PAGE) / pieces
    const offset = (pieces - 1 - piece) * length
    container.mapDma({ iova: BASE + piece * length, memory, offset, length, read: true, write: true })
  }
  using device = group.getDevice(ADDRESS)
  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  config.writeU16(4, config.readU16(4) | 6)
  return await measure(mover.dma, quick)
}

async function measure(dma: DmaAccess, quick: boolean): Promise<Goal> {
  const echo = bareCall()
  const koffi = koffiCall()
  const iovas = BigUint64Array.from({ length: BATCH }, (_, at) => BigInt(BASE + ((at * 7919) % PAGES) * PAGE + 8))
  const hosts = new BigUint64Array(BATCH)
  const into = new Uint8Array(COPY)
  const one = BASE + 0x1234_5678
  const peers: Work[] = koffi === undefined ? [] : [[KOFFI, CALLS, () => repeat(() => koffi(one))]]
  const work: Work[] = [
    // The same number, since it costs what numbers beyond 31 bits cost: V8 keeps them in memory.
    ['bare native call', CALLS, () => repeat(() => echo(one))],
    ['bare native call, small number', CALLS, () => repeat(() => echo(one & 0xffff))],
    ...peers,
    ['vfio, translate', CALLS, () => repeat(() => dma.translate(one, 'read'))],
    ['vfio, translate a batch', BATCH * 10, () => repeat(() => dma.translateBatch(iovas, 'read', hosts), 10)],
    ['vfio, copy 64 KiB', 10, () => repeat(() => dma.read(BASE, into), 10)],
  ]
  const samples = new Map<string, number[]>(work.map(([name]) => [name, []]))
  const rust: { element: number[]; copy: number[] } = { element: [], copy: [] }
  for (let round = 0; round < ROUNDS; round++) {
    process.stderr.write(`\r  crossing ${round + 1}/${ROUNDS}   `)
    const bench = new Bench({ time: quick ? 10 : 60, warmupTime: 10, throws: true })
    for (const [name, , run] of work) bench.add(name, run)
    await bench.run()
    for (const [name, operations] of work) {
      const { result } = bench.getTask(name) ?? {}
      if (result === undefined || !('latency' in result)) throw new Error(`${name} did not run`)
      samples.get(name)?.push((result.latency.p50 * 1e6) / operations)
    }
    if (round % 4 === 0) rustSamples(rust)
  }
  process.stderr.write('\n')
  return figures(samples, rust)
}

function repeat(call: () => void, times = CALLS): void {
  for (let i = 0; i < times; i++) call()
}

function rustSamples(into: { element: number[]; copy: number[] }): void {
  const { contests } = rustGoal('P9', true)
  const figure = (contest: number) => Math.min(...(contests[contest]?.rows ?? []).map((row) => row.wallNs))
  into.element.push(figure(0))
  into.copy.push(figure(1))
}

function figures(samples: ReadonlyMap<string, number[]>, rust: { element: number[]; copy: number[] }): Goal {
  const of = (name: string) => samples.get(name) ?? []
  const ratios = (name: string, to: string) => median(of(name).map((value, at) => value / (of(to)[at] ?? Number.NaN)))
  const single = ratios('vfio, translate', 'bare native call')
  const batch = median(of('vfio, translate a batch')) / median(rust.element)
  const copy = median(rust.copy) / median(of('vfio, copy 64 KiB'))
  const contest = (name: string, rows: [string, readonly number[]][]): Contest => {
    const first = median(rows[0]?.[1] ?? [])
    return { name, rounds: ROUNDS, agree: true, rows: rows.map(([row, values]) => rowOf(row, values, values, first)) }
  }
  return {
    id: 'P9',
    title: 'from JavaScript',
    checks: [
      check('one translate / a bare native call', single, '<=', 1.5),
      check('a batch of 1,024 / the loop in Rust, per element', batch, '<=', 1.3),
      check('64 KiB by DMA, in Rust / from JavaScript', copy, '>=', 0.95),
    ],
    contests: [
      contest('one call', [
        ['vfio, translate', of('vfio, translate')],
        ['bare native call', of('bare native call')],
        ['the same with a small number', of('bare native call, small number')],
        ...(of(KOFFI).length > 0 ? ([[KOFFI, of(KOFFI)]] as [string, number[]][]) : []),
      ]),
      contest('one of a batch of 1,024', [
        ['vfio, translate a batch', of('vfio, translate a batch')],
        ['loop in Rust', rust.element],
      ]),
      contest('64 KiB by DMA', [
        ['vfio, copy 64 KiB', of('vfio, copy 64 KiB')],
        ['copy in Rust', rust.copy],
      ]),
    ],
    notes: [
      'wall time: tinybench measures no other; the Rust side is another process',
      ...(of(KOFFI).length > 0
        ? [
            `koffi, one call of a C function: ${ratios(KOFFI, 'vfio, translate').toFixed(1)} times as long as one translate`,
          ]
        : ['left out: koffi is not installed']),
    ],
  }
}

function check(what: string, ratio: number, sign: Check['sign'], goal: number): Check {
  const rounded = Math.round(ratio * 1000) / 1000
  return { what, ratio: rounded, sign, goal, met: sign === '<=' ? ratio <= goal : ratio >= goal }
}
