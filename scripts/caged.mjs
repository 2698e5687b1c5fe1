/**
 * `npm run test:caged`: the tests of TypeScript and the conformance with external buffers refused, as Electron refuses them.
 *
 * Arguments go to vitest. Ends with `N passed, N failed, N skipped` of the tests.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './build.mjs'
import { node, root, say } from './command.mjs'
import { NONE, line } from './totals.mjs'

const REFUSED = { VFIO_EXTERNAL_BUFFERS: '0' }

build()
const folder = mkdtempSync(join(tmpdir(), 'vfio-caged-'))
const file = join(folder, 'totals.json')
const options = ['run', '--reporter=default', '--reporter=./scripts/vitest-totals.mjs']
say('\nTypeScript tests without external buffers …')
const tests = node(join(root, 'node_modules', 'vitest', 'vitest.mjs'), [...options, ...process.argv.slice(2)], {
  env: { ...REFUSED, VFIO_TEST_TOTALS: file },
})
const totals = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { ...NONE, failed: 1 }
rmSync(folder, { recursive: true })

say('\nConformance without external buffers …')
const conformance = node(join(root, 'scripts', 'conformance.mjs'), [], { env: REFUSED })
if (tests !== 0 || conformance !== 0) process.exitCode = 1
console.log(line(totals))
