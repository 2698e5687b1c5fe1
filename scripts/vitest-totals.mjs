/**
 * A vitest reporter: tells why tests were skipped, and leaves the totals in the file that `VFIO_TEST_TOTALS` names.
 */
import { writeFileSync } from 'node:fs'
import { NONE } from './totals.mjs'

const PLACE = { passed: 'passed', failed: 'failed', skipped: 'skipped', pending: 'failed' }

export default class Totals {
  onTestRunEnd(modules, unhandled) {
    const totals = { ...NONE, failed: unhandled.length }
    for (const module of modules) {
      let failed = 0
      for (const test of module.children.allTests()) {
        const result = test.result()
        totals[PLACE[result.state]]++
        if (result.state === 'failed') failed++
        if (result.state === 'skipped') {
          console.error(`skipped: ${module.relativeModuleId}: ${test.fullName}: ${result.note ?? 'no reason given'}`)
        }
      }
      // A file that does not load counts as one failure.
      if (failed === 0 && !module.ok()) totals.failed++
    }
    const file = process.env['VFIO_TEST_TOTALS']
    if (file !== undefined) writeFileSync(file, JSON.stringify(totals))
  }
}
