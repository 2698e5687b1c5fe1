/** Steps on eventfds, polling and time, and on the test device's DMA. */
import { setTimeout as delay } from 'node:timers/promises'
import { big, hex, small, smallOr } from './number.ts'
import type { Answer } from './compare.ts'
import type { Numeric } from './scenario.ts'
import type { StepPlayer } from './step-player.ts'
import { bind, call, callOn } from './system-call.ts'

// The simulated machine has no latency of its own: an event that comes has come when the call that causes it returns,
// or as soon as the thread that watches descriptors has run. So a step that expects none waits only this long.
const SETTLE_MS = 2

/** Operations on events. */
export const eventSteps: Record<string, StepPlayer> = {
  eventfd: (session, step) =>
    call(() => bind(session, step, session.process.eventfd(step['init'] === undefined ? 0n : big(step['init'])))),
  'eventfd-read': async (session, step) => {
    const readNow = (): Answer =>
      callOn(session, step, (file) => {
        const counter = new BigUint64Array(1)
        const ret = file.read(new Uint8Array(counter.buffer))
        return { ret, value: hex(counter[0] ?? 0n) }
      })
    const expectsNone = step.expect.errno === 'EAGAIN'
    const limit = Math.min(smallOr(step['wait_ms'] as Numeric | undefined, 0), expectsNone ? SETTLE_MS : Infinity)
    const until = Date.now() + limit
    let answer = readNow()
    while (answer['errno'] === 'EAGAIN' && Date.now() < until) {
      await delay(1)
      answer = readNow()
    }
    return answer
  },
  'eventfd-write': (session, step) =>
    callOn(session, step, (file) => ({
      ret: file.write(new Uint8Array(BigUint64Array.of(big(step['value'])).buffer)),
    })),
  poll: (session, step) =>
    callOn(session, step, (file) => {
      const revents = file.poll()
      return { ret: revents === 0 ? 0 : 1, revents: hex(revents) }
    }),
  sleep: async () => {
    await delay(0)
    return { ret: 0 }
  },
  bus_master_on: (session, step) => callOn(session, step, (file) => session.machine.enableBusMaster(file)),
  dma: (session, step) =>
    callOn(session, step, (file) =>
      session.machine.dma(file, String(step['way']), big(step['iova']), small(step['len'])),
    ),
}
