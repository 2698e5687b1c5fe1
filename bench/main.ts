/** Runs goals, prints how they end, and keeps the figures; see `scripts/bench.mjs`. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { parseArgs } from 'node:util'
import { isMet, report, type Goal } from './goal.ts'
import { crossing } from './crossing.ts'
import { plot } from './plot.ts'
import { rustGoal } from './rust.ts'
import { tceUpdates } from './tce.ts'

const GOALS = ['P1', 'P2', 'P3', 'P4', 'P5', 'P6', 'P7', 'P8', 'P9', 'TCE']
const PLOTS = new URL('../../bench/plots/', import.meta.url)

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: 'string' }, quick: { type: 'boolean' }, gate: { type: 'boolean' } },
  })
  const unknown = positionals.find((goal) => !GOALS.includes(goal))
  if (unknown !== undefined) {
    console.error(`there is no goal ${unknown}; there are ${GOALS.join(' ')}`)
    return 2
  }
  const goals: Goal[] = []
  mkdirSync(PLOTS, { recursive: true })
  for (const id of GOALS.filter((goal) => positionals.length === 0 || positionals.includes(goal))) {
    const goal = await run(id, values.quick ?? false)
    goals.push(goal)
    for (const line of report(goal)) console.log(line)
    if (goal.contests.length > 0) writeFileSync(new URL(`${id}.svg`, PLOTS), plot(goal))
  }
  if (values.json !== undefined) {
    writeFileSync(
      values.json,
      `${JSON.stringify({ machine: machine(), quick: values.quick ?? false, goals }, null, 1)}\n`,
    )
  }
  return values.gate === true && !goals.every(isMet) ? 1 : 0
}

async function run(id: string, quick: boolean): Promise<Goal> {
  if (id === 'P9') return await crossing(quick)
  if (id === 'TCE') return tceUpdates(quick)
  if (id === 'P7') return await regionLatency(quick)
  return rustGoal(id, quick)
}

/** P7 has a program of its own, which exports `measure`. */
async function regionLatency(quick: boolean): Promise<Goal> {
  const program = new URL('./region-latency.js', import.meta.url).href
  try {
    const { measure } = (await import(program)) as { measure: (quick: boolean) => Promise<Goal> }
    return await measure(quick)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    const notes = ['left out: there is no bench/region-latency']
    return { id: 'P7', title: 'a region access over vfio-user', checks: [], contests: [], notes }
  }
}

function machine(): Record<string, unknown> {
  const rustc = () => {
    try {
      return execFileSync('rustc', ['--version'], { encoding: 'utf8' }).trim()
    } catch {
      return 'unknown'
    }
  }
  const [processor] = cpus()
  return {
    processor: processor?.model ?? 'unknown',
    processors: cpus().length,
    kernel: release(),
    node: process.version,
    rustc: rustc(),
    loadAverage: loadavg(),
  }
}

process.exitCode = await main(process.argv.slice(2))
