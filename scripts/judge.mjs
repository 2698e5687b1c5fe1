/**
 * `npm run -s judge -- vfio|iommufd|all`: the kernel's own selftests under `vfio run`, dynamically and statically linked.
 *
 * They are built from Debian's source package into a cache (`test/judges/build-selftests.sh`), once. Prints the programs' own
 * counts and ends with `N passed, N failed, N skipped`. A failure that `docs/differences.md` names counts as failed, and does not
 * make the exit code; any other does.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'
import { fail, root, run, say } from './command.mjs'

const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vfio-judges')
const CLI = join(root, 'dist', 'cli', 'main.js')
const HUGE_PAGES = '/proc/sys/vm/nr_hugepages'
/** Pages of 2 MiB that the programs want at once. */
const WANTED_PAGES = 64
/** Seconds after which a program is given up. */
const PATIENCE = 300
const SKIPPED = 4
const TOTALS = /^# Totals: pass:(\d+) fail:(\d+) xfail:(\d+) xpass:(\d+) skip:(\d+) error:(\d+)$/m

const { positionals } = parseArgs({ allowPositionals: true })
const [which = 'all'] = positionals
if (!['vfio', 'iommufd', 'all'].includes(which)) fail(`there is no judge ${which}: vfio, iommufd, all`)

build()
const totals = { passed: 0, failed: 0, skipped: 0 }
const unexpected = []
const pages = reserve()
try {
  for (const kind of ['dynamic', 'static']) await judge(kind)
} finally {
  if (pages !== undefined) writeFileSync(HUGE_PAGES, pages)
}
for (const name of unexpected) say(`not in docs/differences.md: ${name}`)
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
process.exitCode = unexpected.length > 0 ? 1 : 0

/** Builds the programs of one kind, where they are not there, and runs them. */
async function judge(kind) {
  const folder = join(CACHE, kind)
  if (!existsSync(join(folder, 'iommufd'))) {
    mkdirSync(folder, { recursive: true })
    const script = join(root, 'test', 'judges', 'build-selftests.sh')
    if (run('bash', [script, CACHE, folder, ...(kind === 'static' ? ['--static'] : [])]) !== 0) {
      fail('the selftests cannot be built, see above')
    }
  }
  const programs = readdirSync(folder).filter((name) => name.startsWith('vfio_'))
  if (which !== 'iommufd') for (const program of programs) await play(kind, folder, program, [])
  if (which !== 'vfio') await play(kind, folder, 'iommufd', ['--topology', machine()])
}

/** Runs one program and adds up what it says of itself. */
async function play(kind, folder, program, options) {
  const began = Date.now()
  const { code, output } = await start([CLI, 'run', ...options, '--', join(folder, program)])
  const counts = TOTALS.exec(output)?.slice(1).map(Number)
  const seconds = ((Date.now() - began) / 1000).toFixed(1)
  if (counts === undefined && code === SKIPPED) {
    totals.skipped++
    say(`${kind} ${program}: skipped (${/SKIP (.*)/.exec(output)?.[1] ?? 'it does not say why'})`)
    return
  }
  if (counts === undefined) {
    totals.failed++
    unexpected.push(`${kind} ${program}: ended with ${code} and no counts`)
    say(output.split('\n').slice(-20).join('\n'))
    return
  }
  const [pass = 0, failed = 0, xfail = 0, xpass = 0, skip = 0, error = 0] = counts
  say(`${kind} ${program}: ${TOTALS.exec(output)?.[0].slice(2)} (${seconds} s)`)
  totals.passed += pass + xfail
  totals.failed += failed + xpass + error
  totals.skipped += skip
  const known = knownFailures()
  for (const [, name] of output.matchAll(/^not ok \d+ ([^ \n]+)/gm)) {
    if (!known.some((pattern) => pattern.test(`${program}/${name}`))) unexpected.push(`${program}/${name}`)
  }
}

/** What a program says, and how it ends. */
function start(args) {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const parts = []
  child.stdout.on('data', (part) => parts.push(part))
  child.stderr.on('data', (part) => parts.push(part))
  const patience = setTimeout(() => child.kill('SIGKILL'), PATIENCE * 1000)
  return new Promise((resolve) => {
    child.on('close', (code) => {
      clearTimeout(patience)
      resolve({ code, output: Buffer.concat(parts).toString() })
    })
  })
}

/** A machine whose iommufd answers the kernel's test requests. */
function machine() {
  mkdirSync(CACHE, { recursive: true })
  const file = join(CACHE, 'iommufd-tests.json')
  writeFileSync(file, JSON.stringify({ iommufdTests: true }))
  return file
}

/** Patterns of the table of failures in docs/differences.md. */
function knownFailures() {
  const text = readFileSync(join(root, 'docs', 'differences.md'), 'utf8')
  const rows = [...text.matchAll(/^\| `(\w+\/[^`]+)` +\| failed/gm)]
  return rows.map(([, glob]) => new RegExp(`^${glob.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`))
}

/** Reserves huge pages and returns how many there were; undefined: this may not be done here. */
function reserve() {
  try {
    const before = readFileSync(HUGE_PAGES, 'utf8')
    writeFileSync(HUGE_PAGES, String(Number(before) + WANTED_PAGES))
    return before
  } catch {
    return undefined
  }
}
