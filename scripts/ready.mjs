/**
 * `npm run ready`: everything that a change must pass, in one go; CI runs the same.
 *
 * Every step runs even if an earlier one failed. The last line of standard output adds up the tests.
 */
import { spawnSync } from 'node:child_process'
import { npm, root, say } from './command.mjs'
import { install } from './install.mjs'
import { NONE, line } from './totals.mjs'

const STEPS = [
  ['format', ['run', '-s', 'format:check']],
  ['lint', ['run', '-s', 'lint:ts']],
  ['clippy', ['run', '-s', 'lint:rust']],
  ['types', ['run', '-s', 'types']],
  ['generated files', ['run', '-s', 'uapi', '--', '--check']],
  ['import directions', ['run', '-s', 'directions']],
  ['documentation', ['run', '-s', 'docs']],
  ['targets', ['run', '-s', 'check:targets']],
  ['packages', ['run', '-s', 'pack']],
  ['packages as others see them', ['run', '-s', 'check:packages']],
  ['tests', ['test', '-s']],
  // Mounts and foreign programs have no buffers of that kind.
  [
    'tests without external buffers',
    ['run', '-s', 'test:caged', '--', '--exclude', 'test/{fuse,mdevctl,mount,run}/**'],
  ],
  ['main job', ['start', '-s']],
  ['examples', ['run', '-s', 'examples']],
  ['conformance', ['run', '-s', 'conformance']],
  ['fuzz', ['run', '-s', 'fuzz', '--', 'wire', '--seconds', '60']],
  ['guest', ['run', '-s', 'guest', '--', 'all']],
]

install()
const failed = []
let totals = line(NONE)
for (const [name, args] of STEPS) {
  say(`\n── ${name}: npm ${args.join(' ')}`)
  const began = Date.now()
  const status = name === 'tests' ? test(args) : npm(args)
  say(`── ${name}: ${status === 0 ? 'ok' : 'FAILED'} (${((Date.now() - began) / 1000).toFixed(1)} s)`)
  if (status !== 0) failed.push(name)
}
if (failed.length > 0) {
  say(`\nFailed: ${failed.join(', ')}`)
  process.exitCode = 1
}
console.log(totals)

/** Runs the tests and keeps the line by which they end. */
function test(args) {
  const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 }
  const done = spawnSync('npm', args, options)
  process.stderr.write(done.stdout)
  totals = done.stdout.trimEnd().split('\n').at(-1) || line({ ...NONE, failed: 1 })
  return done.status ?? 1
}
