/** Playing files of recordings, and what is told of it: a line for each failure and each file, and the totals. */
import { readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { differencesOf, excuses, type Difference } from './differences.ts'
import { play, type Outcome } from './play.ts'
import { LAYOUT_FILE, readScenarios, type Scenario } from './scenario.ts'

/** How many scenarios ended how. */
export interface Totals {
  passed: number
  failed: number
  skipped: number
}

/** What became of one scenario. */
export interface Report extends Outcome {
  file: string
  name: string
}

/** What is played, and how much is told. */
export interface PlayOptions {
  /** Files and folders of recordings. */
  paths: readonly string[]
  /** This scenario only, as `AREA/NAME`. */
  only?: string | undefined
  /** Shows the step that differs, and reasons of what is skipped. */
  explain: boolean
  /** Rows of the table of deliberate differences. */
  differences: readonly Difference[]
  /** Takes a line for people. */
  log(line: string): void
}

/** Plays recordings, each on a machine of its own. @throws {Error} a path that is not there, or nothing to play */
export async function playAll(options: PlayOptions): Promise<Totals & { scenarios: Report[] }> {
  const whole = { passed: 0, failed: 0, skipped: 0, scenarios: [] as Report[] }
  for (const file of options.paths.flatMap(recordingsIn)) {
    const totals = await playFile(file, options, whole.scenarios)
    whole.passed += totals.passed
    whole.failed += totals.failed
    whole.skipped += totals.skipped
  }
  if (whole.passed + whole.failed + whole.skipped === 0) throw new Error('no scenario to play')
  return whole
}

/** Totals as the line that programs read. */
export function totalsLine({ passed, failed, skipped }: Totals): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`
}

function recordingsIn(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  const entries = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  return entries.flatMap((entry) => {
    const child = join(path, entry.name)
    if (entry.isDirectory()) return recordingsIn(child)
    return entry.name.endsWith('.json') && entry.name !== LAYOUT_FILE ? [child] : []
  })
}

async function playFile(file: string, options: PlayOptions, reports: Report[]): Promise<Totals> {
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 }
  let scenarios: Scenario[]
  try {
    scenarios = readScenarios(file)
    if (scenarios.length === 0) throw new Error('no scenario in it')
  } catch (error) {
    options.log(`FAIL ${file}: ${(error as Error).message}`)
    return { ...totals, failed: 1 }
  }
  for (const scenario of scenarios) {
    if (options.only !== undefined && scenario.name !== options.only) continue
    const rows = differencesOf(scenario, options.differences)
    const excuse = excuses(rows)
    const outcome: Outcome =
      excuse === undefined ? await play(scenario, rows) : { result: 'skipped', reason: excuse.reason }
    totals[outcome.result]++
    reports.push({ file, name: scenario.name, ...outcome })
    if (outcome.result === 'failed') options.log(failureText(scenario, outcome, options.explain))
    else if (outcome.result === 'skipped' && options.explain)
      options.log(`SKIP ${scenario.name}: ${outcome.reason ?? ''}`)
  }
  const count = totals.passed + totals.failed + totals.skipped
  if (count > 0) {
    const place = join(basename(dirname(file)), basename(file, '.json'))
    options.log(`${place}: ${totalsLine(totals)} of ${count}`)
  }
  return totals
}

function failureText(scenario: Scenario, outcome: Outcome, explain: boolean): string {
  const line = `FAIL ${scenario.name}: ${outcome.reason ?? ''}`
  if (!explain || outcome.step === undefined) return line
  return `${line}
  about     ${scenario.about}
  env       ${JSON.stringify(scenario.env)}
  step ${outcome.step}    ${JSON.stringify({ ...scenario.steps[outcome.step], expect: undefined })}
  expected  ${JSON.stringify(scenario.steps[outcome.step]?.expect)}
  answered  ${outcome.answer ?? ''}`
}
