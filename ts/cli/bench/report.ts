/** The figures of `vfio bench`: as data, as text, as a page with plots. */
import { cpus, release } from 'node:os'
import { Histogram } from './histogram.ts'
import type { Job } from './job.ts'
import type { Slice } from './loop.ts'

/** What came out of a job. */
export interface BenchReport {
  job: Job
  machine: { processor: string; processors: number; kernel: string; node: string }
  accesses: number
  /** Accesses and bytes per second, all threads together. */
  accessesPerSecond: number
  bytesPerSecond: number
  /** Bandwidth over that of a native copy in large pieces of as much memory: the median of the slices. */
  ratioToMemcpy: number
  /** Nanoseconds of a request, with all its accesses. */
  latency: Record<'p50' | 'p90' | 'p99' | 'p99.9' | 'max', number>
  /** Bytes per second, slice by slice, for one thread. */
  timeline: number[]
  histogram: [nanoseconds: number, count: number][]
}

/** Gathers slices and latencies. */
export class Gatherer {
  readonly #job: Job
  readonly #slices: Slice[] = []
  readonly #histogram = new Histogram()

  constructor(job: Job) {
    this.#job = job
  }

  add(slice: Slice): void {
    this.#slices.push(slice)
  }

  addLatencies(counts: Float64Array): void {
    this.#histogram.merge(counts)
  }

  /** Accesses per second over the last slices of all threads. */
  get rate(): number {
    const recent = this.#slices.slice(-4 * this.#job.threads)
    return (
      this.#job.threads * (sum(recent.map((slice) => slice.accesses)) / sum(recent.map((s) => s.nanoseconds))) * 1e9
    )
  }

  report(): BenchReport {
    const job = this.#job
    const slices = this.#slices
    const accesses = sum(slices.map((slice) => slice.accesses))
    const perSecond = (job.threads * accesses * 1e9) / sum(slices.map((slice) => slice.nanoseconds))
    const ratios = slices.map((slice) => slice.memcpy / slice.each).toSorted((a, b) => a - b)
    const percentile = (percent: number) => Math.round(this.#histogram.percentile(percent))
    return {
      job,
      machine: {
        processor: cpus()[0]?.model ?? 'unknown',
        processors: cpus().length,
        kernel: release(),
        node: process.version,
      },
      accesses,
      accessesPerSecond: perSecond,
      bytesPerSecond: perSecond * job.blockSize,
      ratioToMemcpy: ratios[ratios.length >> 1] ?? Number.NaN,
      latency: {
        p50: percentile(50),
        p90: percentile(90),
        p99: percentile(99),
        'p99.9': percentile(99.9),
        max: percentile(100),
      },
      timeline: slices.map((slice) => (job.blockSize * 1e9) / slice.each),
      histogram: this.#histogram.entries(),
    }
  }
}

/** The report in a few lines. */
export function reportText({ job, latency, ...figures }: BenchReport): string {
  const how = {
    ring: `ring, ${job.operation}, ${job.completion}`,
    map: 'map and unmap',
    handle: `handle, ${job.readPercent} % reads`,
  }[job.engine]
  const where = `${job.mappings} mappings, ${job.fragmentation} % apart`
  return [
    `${how}, ${job.pattern}, ${size(job.blockSize)} × ${job.depth}, ${size(job.size)} in ${where}, ${job.threads} thread(s)`,
    `  ${count(figures.accessesPerSecond)} accesses/s, ${size(figures.bytesPerSecond)}/s, ` +
      `${figures.ratioToMemcpy.toFixed(2)} of a memcpy's`,
    `  latency of a request: ${Object.entries(latency)
      .map(([name, value]) => `${name} ${time(value)}`)
      .join('  ')}`,
  ].join('\n')
}

/** The report as a page of its own. */
export function reportHtml(report: BenchReport): string {
  const rows = [...Object.entries(report.job), ...Object.entries(report.machine)]
    .map(([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(String(value))}</td></tr>`)
    .join('')
  const bandwidth = report.timeline.map((value, at): [number, number] => [at, value])
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>vfio bench</title>
<style>body{font:14px sans-serif;margin:2em}th{text-align:left;padding-right:1em}svg{display:block;margin:1em 0}</style></head>
<body><h1>vfio bench</h1><pre>${escape(reportText(report))}</pre>
<h2>Bandwidth of a thread, slice by slice</h2>${bars(bandwidth, (value) => `${size(value)}/s`)}
<h2>Latency of a request</h2>${bars(report.histogram, count, time)}
<h2>Job and machine</h2><table>${rows}</table></body></html>
`
}

const PLOT = { width: 800, height: 200, foot: 20 }

function bars(
  points: readonly (readonly [number, number])[],
  show: (value: number) => string,
  label: (value: number) => string = String,
): string {
  const { width, height, foot } = PLOT
  const most = Math.max(...points.map(([, value]) => value), 1e-9)
  const step = width / Math.max(points.length, 1)
  const bar = ([at, value]: readonly [number, number], index: number) => {
    const tall = (value / most) * height
    const title = `<title>${escape(`${label(at)}: ${show(value)}`)}</title>`
    return `<rect x="${(index * step).toFixed(1)}" y="${(height - tall).toFixed(1)}" width="${Math.max(step - 1, 0.5).toFixed(1)}" height="${tall.toFixed(1)}" fill="#2563eb">${title}</rect>`
  }
  const ends = [points[0]?.[0] ?? 0, points.at(-1)?.[0] ?? 0].map(label)
  return `<svg width="${width}" height="${height + foot}" font-size="12">${points.map(bar).join('')}
<text x="0" y="${height + 15}">${escape(ends[0] ?? '')}</text><text x="${width}" y="${height + 15}" text-anchor="end">${escape(ends[1] ?? '')}</text>
<text x="0" y="12">${escape(show(most))}</text></svg>`
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** Bytes for people. */
export function size(bytes: number): string {
  const step = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), 4)
  return `${trim(bytes / 2 ** (10 * step))} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][step] ?? ''}`
}

/** A count for people. */
export function count(value: number): string {
  return value >= 1e6 ? `${trim(value / 1e6)} M` : value >= 1e3 ? `${trim(value / 1e3)} k` : trim(value)
}

function time(nanoseconds: number): string {
  if (nanoseconds >= 1e6) return `${trim(nanoseconds / 1e6)} ms`
  return nanoseconds >= 1e3 ? `${trim(nanoseconds / 1e3)} µs` : `${trim(nanoseconds)} ns`
}

function trim(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}
