/** `vfio bench`: a job of DMA, in the manner of fio. */
import { writeFileSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { type Job, JOB_OPTIONS, jobOf } from './bench/job.ts'
import { Loop } from './bench/loop.ts'
import { BenchMachine } from './bench/machine.ts'
import { type BenchReport, count, Gatherer, reportHtml, reportText, size } from './bench/report.ts'
import { runThreads } from './bench/threads.ts'
import { type Command, EXIT } from './command.ts'
import { answer } from './output.ts'

const PROGRESS_MS = 200

export const bench: Command = {
  name: 'bench',
  summary: 'measures DMA, in the manner of fio',
  description: [
    'Makes a machine with one device behind an IOMMU, maps memory as it is told, and reaches it for a while: how many accesses a second, how many bytes, how that compares with a large native copy (memcpy) that is measured in between, and how long requests take.',
    'Sizes take k, m and g. On a terminal the figures are shown while it runs.',
  ],
  options: JOB_OPTIONS,
  async run(call) {
    const job = jobOf(call)
    const html = call.text('html')
    const report = await measure(job, progress(job))
    answer(call.json, report, reportText)
    if (html !== undefined) writeFileSync(html, reportHtml(report))
    return EXIT.done
  },
}

/** Runs a job; `onSlice` hears how fast it is. */
async function measure(job: Job, onSlice: (rate: number) => void): Promise<BenchReport> {
  using machine = new BenchMachine(job)
  const gatherer = new Gatherer(job)
  if (job.threads > 1) {
    const add = (slice: Parameters<Gatherer['add']>[0]): void => {
      gatherer.add(slice)
      onSlice(gatherer.rate)
    }
    await runThreads(job, machine, add, (latencies) => gatherer.addLatencies(latencies))
    return gatherer.report()
  }
  using loop = new Loop(job, machine.request(), 1)
  const end = performance.now() + job.seconds * 1000
  do {
    gatherer.add(loop.slice())
    onSlice(gatherer.rate)
    await turn()
  } while (performance.now() < end)
  gatherer.addLatencies(loop.histogram.counts)
  return gatherer.report()
}

/** Shows how it goes, where somebody looks. */
function progress(job: Job): (rate: number) => void {
  if (!process.stderr.isTTY) return () => {}
  const began = performance.now()
  let last = 0
  return (rate) => {
    const now = performance.now()
    if (now - last < PROGRESS_MS) return
    last = now
    const left = Math.max(job.seconds - (now - began) / 1000, 0)
    const text = `  ${count(rate)} accesses/s  ${size(rate * job.blockSize)}/s  ${left.toFixed(0)} s left`
    process.stderr.write(`\r${text.padEnd(70)}${left === 0 ? '\r' : ''}`)
  }
}
