/**
 * `npm test`: brings everything up to date and runs every test, those of Rust and those of TypeScript.
 *
 * The last line of standard output is `N passed, N failed, N skipped`. A test that needs a facility which the machine
 * lacks is skipped with its reason; with `VFIO_REQUIRE_FACILITIES=1` such a skip is a failure.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './build.mjs'
import { node, root, say } from './command.mjs'
import { NONE, cargoTotals, line, sum } from './totals.mjs'

build()
const rust = await testRust()
const typescript = testTypeScript()
const totals = sum(rust, typescript)
if (process.env['VFIO_REQUIRE_FACILITIES'] === '1' && totals.skipped > 0) {
  say(`\n${totals.skipped} test(s) were skipped although every facility is required, see above`)
  process.exitCode = 1
}
if (totals.failed > 0) process.exitCode = 1
console.log(`Rust: ${line(rust)}`)
console.log(`TypeScript: ${line(typescript)}`)
console.log(line(totals))

/** Runs the tests of the workspace, their output shown as it comes. */
async function testRust() {
  say('\nRust tests (cargo test) …')
  const cargo = spawn('cargo', ['test', '--workspace', '--no-fail-fast'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  cargo.stdout.on('data', (chunk) => {
    output += chunk
    process.stderr.write(chunk)
  })
  const status = await new Promise((resolve, reject) => cargo.on('error', reject).on('close', resolve))
  const totals = cargoTotals(output)
  // What does not compile has no totals of its own.
  return status !== 0 && totals.failed === 0 ? { ...totals, failed: 1 } : totals
}

/** Runs vitest. */
function testTypeScript() {
  say('\nTypeScript tests (vitest) …')
  const folder = mkdtempSync(join(tmpdir(), 'vfio-test-'))
  const file = join(folder, 'totals.json')
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=./scripts/vitest-totals.mjs']
  const status = node(vitest, ['run', ...reporters, ...process.argv.slice(2)], { env: { VFIO_TEST_TOTALS: file } })
  const totals = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : NONE
  rmSync(folder, { recursive: true })
  return status !== 0 && totals.failed === 0 ? { ...totals, failed: 1 } : totals
}
