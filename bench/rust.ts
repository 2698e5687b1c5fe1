/** Runs the bench crate. */
import { spawnSync } from 'node:child_process'
import type { Goal } from './goal.ts'

/**
 * Runs one goal of the crate; its progress goes to stderr.
 * @throws {Error} it is not built, or fails
 */
export function rustGoal(id: string, quick: boolean): Goal {
  const binary = process.env['VFIO_BENCH_BINARY']
  if (binary === undefined) throw new Error('start this with: npm run -s bench')
  const done = spawnSync(binary, [id, ...(quick ? ['--quick'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  })
  if (done.error !== undefined) throw done.error
  if (done.status !== 0) throw new Error(`${id}: the bench ended with ${done.status ?? done.signal}`)
  const [goal] = (JSON.parse(done.stdout) as { goals: Goal[] }).goals
  if (goal === undefined) throw new Error(`${id}: no such goal`)
  return goal
}
