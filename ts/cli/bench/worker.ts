/** A worker of `vfio bench`: takes its share of the device's view and runs the job. */
import { parentPort, workerData } from 'node:worker_threads'
import { adoptDma, HostMemory, SharedDomain } from '../../index.ts'
import { handleRequest, Loop, mapRequest } from './loop.ts'
import type { WorkerNews, WorkerStart } from './threads.ts'

const { job, seed, shared } = workerData as WorkerStart
const tell = (news: WorkerNews) => parentPort?.postMessage(news)
const request =
  'dma' in shared
    ? handleRequest(adoptDma(shared.dma), job)
    : mapRequest(SharedDomain.adopt(shared.domain), HostMemory.adopt(shared.memory), job, seed)
const loop = new Loop(job, request, seed)
const end = performance.now() + job.seconds * 1000
while (performance.now() < end) tell({ slice: loop.slice() })
tell({ latencies: loop.histogram.counts })
