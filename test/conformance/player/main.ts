/**
 * The conformance player: plays recorded vectors through the file door of a fresh simulated host.
 *
 *     npm run -s conformance -- [FILE|DIR …] [--only AREA/NAME] [--explain] [--json FILE]
 *
 * The last line of standard output is `N passed, N failed, N skipped`; the exit code is 0 only without a failure.
 */
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { differencesOf, excuses, readDifferences, type Difference } from './differences.ts'
import { play, type Outcome } from './play.ts'
import { LAYOUT_FILE, readScenarios, type Scenario } from './scenario.ts'

const USAGE = `usage: conformance [FILE|DIR …] [--only AREA/NAME] [--explain] [--json FILE]`

interface Totals {
  passed: number
  failed: number
  skipped: number
}

interface Report extends Outcome {
  file: string
  name: string
}

/** Runs the player and returns the exit code. */
export async function main(argv: readonly string[], repository: string): Promise<number> {
  let options: ReturnType<typeof parse>
  try {
    options = parse(argv)
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`)
    return finish({ passed: 0, failed: 1, skipped: 0 })
  }
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 }
  const reports: Report[] = []
  let played = 0
  try {
    const rows = readDifferences(join(repository, 'docs', 'differences.md'))
    const paths = options.paths.length > 0 ? options.paths : [join(repository, 'test', 'conformance')]
    for (const file of paths.flatMap(vectorFiles)) played += await playFile(file, options, rows, totals, reports)
  } catch (error) {
    console.error(`error: ${(error as Error).message}`)
    totals.failed++
  }
  if (played === 0 && totals.failed === 0) {
    console.error('error: no scenario to play')
    totals.failed++
  }
  if (options.json !== undefined)
    writeFileSync(options.json, JSON.stringify({ ...totals, scenarios: reports }, null, 2))
  return finish(totals)
}

function parse(argv: readonly string[]): { paths: string[]; only?: string; explain: boolean; json?: string } {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { only: { type: 'string' }, explain: { type: 'boolean' }, json: { type: 'string' } },
  })
  return {
    paths: positionals,
    explain: values.explain ?? false,
    ...(values.only === undefined ? {} : { only: values.only }),
    ...(values.json === undefined ? {} : { json: values.json }),
  }
}

function finish({ passed, failed, skipped }: Totals): number {
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
  return failed === 0 ? 0 : 1
}

function vectorFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  const entries = readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))
  return entries.flatMap((entry) => {
    const child = join(path, entry.name)
    if (entry.isDirectory()) return entry.name === 'player' ? [] : vectorFiles(child)
    return entry.name.endsWith('.json') && entry.name !== LAYOUT_FILE ? [child] : []
  })
}

async function playFile(
  file: string,
  options: { only?: string; explain: boolean },
  rows: readonly Difference[],
  totals: Totals,
  reports: Report[],
): Promise<number> {
  let scenarios: Scenario[]
  try {
    scenarios = readScenarios(file)
    if (scenarios.length === 0) throw new Error('no scenario in it')
  } catch (error) {
    console.log(`FAIL ${file}: ${(error as Error).message}`)
    totals.failed++
    return 1
  }
  const here: Totals = { passed: 0, failed: 0, skipped: 0 }
  for (const scenario of scenarios) {
    if (options.only !== undefined && scenario.name !== options.only) continue
    const excused = differencesOf(scenario, rows)
    const whole = excuses(excused)
    const outcome: Outcome =
      whole === undefined ? await play(scenario, excused) : { result: 'skipped', reason: whole.reason }
    here[outcome.result]++
    reports.push({ file, name: scenario.name, ...outcome })
    if (outcome.result === 'failed') console.log(failureText(scenario, outcome, options.explain))
    else if (outcome.result === 'skipped' && options.explain)
      console.log(`SKIP ${scenario.name}: ${outcome.reason ?? ''}`)
  }
  totals.passed += here.passed
  totals.failed += here.failed
  totals.skipped += here.skipped
  const count = here.passed + here.failed + here.skipped
  if (count > 0) {
    const place = join(basename(dirname(file)), basename(file, '.json'))
    console.log(`${place}: ${here.passed} passed, ${here.failed} failed, ${here.skipped} skipped of ${count}`)
  }
  return count
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

const self = fileURLToPath(import.meta.url)
if (process.argv[1] === self) {
  const repository = process.env['VFIO_REPOSITORY'] ?? process.cwd()
  process.exitCode = await main(process.argv.slice(2), repository)
}
