/** `vfio conformance`: plays recorded answers of real kernels through the file door. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readDifferences } from '../conformance/differences.ts'
import { playAll, type Totals, totalsLine } from '../conformance/report.ts'
import { type Command, EXIT, UsageError } from './command.ts'

const PACKAGE = fileURLToPath(new URL('../..', import.meta.url))
/** The recordings, in a checkout of the repository; packages come without. */
const RECORDINGS = join(PACKAGE, 'test', 'conformance')
const DIFFERENCES = join(PACKAGE, 'docs', 'differences.md')

export const conformance: Command = {
  name: 'conformance',
  summary: 'plays recorded answers of real kernels, and tells which differ',
  operands: '[FILE-OR-DIR …]',
  most: Number.POSITIVE_INFINITY,
  description: [
    'Every scenario gets a machine of its own. Steps that the table of deliberate differences names are passed over. The last line is: N passed, N failed, N skipped.',
  ],
  options: [
    { name: 'only', value: 'AREA/NAME', summary: 'plays this scenario only' },
    { name: 'explain', summary: 'shows the step that differs, and reasons of what is skipped' },
    { name: 'report', value: 'FILE', summary: 'writes what became of each scenario, as JSON' },
    { name: 'differences', value: 'FILE', summary: 'another table of deliberate differences' },
  ],
  async run(call) {
    const paths = call.operands.length > 0 ? call.operands : [RECORDINGS]
    if (call.operands.length === 0 && !existsSync(RECORDINGS)) throw new UsageError('which recordings?')
    const none: Totals = { passed: 0, failed: 1, skipped: 0 }
    try {
      const result = await playAll({
        paths,
        only: call.text('only'),
        explain: call.flag('explain'),
        differences: readDifferences(call.text('differences') ?? DIFFERENCES),
        log: call.json ? () => {} : (line) => console.log(line),
      })
      const report = call.text('report')
      if (report !== undefined) writeFileSync(report, JSON.stringify(result, null, 2))
      console.log(call.json ? JSON.stringify(result, null, 2) : totalsLine(result))
      return result.failed === 0 ? EXIT.done : EXIT.no
    } catch (error) {
      if (!call.json) console.log(totalsLine(none))
      throw error
    }
  },
}
