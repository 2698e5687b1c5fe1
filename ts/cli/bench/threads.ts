/** Workers that share a device's view of memory. */
import { Worker } from 'node:worker_threads'
import type { BenchMachine, SharedHandles } from './machine.ts'
import type { Job } from './job.ts'
import type { Slice } from './loop.ts'

/** What a worker is started with. */
export interface WorkerStart {
  job: Job
  seed: number
  shared: SharedHandles
}

/** What a worker tells: a slice, and at the end its latencies. */
export type WorkerNews = { slice: Slice } | { latencies: Float64Array }

/** Runs a job in workers until its time is over. @throws {Error} what a worker throws */
export async function runThreads(
  job: Job,
  machine: BenchMachine,
  onSlice: (slice: Slice) => void,
  onEnd: (latencies: Float64Array) => void,
): Promise<void> {
  const here = import.meta.url
  const file = new URL(here.endsWith('.ts') ? './worker.ts' : './worker.js', here)
  const run = (seed: number) =>
    new Promise<void>((resolve, reject) => {
      const start: WorkerStart = { job, seed, shared: machine.share() }
      const worker = new Worker(file, { workerData: start })
      worker.on('message', (news: WorkerNews) => {
        if ('slice' in news) onSlice(news.slice)
        else onEnd(news.latencies)
      })
      worker.on('error', reject)
      worker.on('exit', () => resolve())
    })
  await Promise.all(Array.from({ length: job.threads }, (_, at) => run(at + 1)))
}
