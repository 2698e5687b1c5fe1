/**
 * Builds the native addon and puts it where `ts/native/binary.ts` looks: `native/vfio.<target>.node`.
 *
 * node scripts/build-native.mjs [--debug]      --debug: quick to build, slow to run
 *
 * Cargo decides what must be rebuilt and shows its progress; the file is replaced only when it differs.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addonName, hostTarget, libraryName, rustFlags } from './targets.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const debug = process.argv.includes('--debug')

const began = Date.now()
const flags = debug ? [] : ['--release']
console.error(`Building the native addon (${debug ? 'debug' : 'release; about a minute the first time'}) …`)
const cargo = run('cargo', ['build', '-p', 'vfio-napi', ...flags])
if (cargo.error) fail(`cargo does not start (${cargo.error.message}); install a Rust toolchain: https://rustup.rs`)
if (cargo.status !== 0) fail('cargo build failed, see above')

const built = join(targetDirectory(), debug ? 'debug' : 'release', libraryName(process.platform))
const wanted = join(root, 'native', addonName(hostTarget()))
if (same(built, wanted)) {
  console.error(`native/${addonName(hostTarget())} is up to date`)
} else {
  // A new file under the old name: a process that has the old one loaded keeps it.
  mkdirSync(join(root, 'native'), { recursive: true })
  copyFileSync(built, `${wanted}.new`)
  renameSync(`${wanted}.new`, wanted)
  console.error(`native/${addonName(hostTarget())} built in ${((Date.now() - began) / 1000).toFixed(1)} s`)
}

function run(command, args) {
  const told = rustFlags(hostTarget())
  const env = told === '' ? process.env : { ...process.env, RUSTFLAGS: told }
  return spawnSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env })
}

function targetDirectory() {
  const args = ['metadata', '--format-version', '1', '--no-deps', '--offline']
  const answer = spawnSync('cargo', args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 })
  if (answer.status !== 0) fail(`cargo metadata failed: ${answer.stderr}`)
  return JSON.parse(answer.stdout).target_directory
}

function same(left, right) {
  return existsSync(right) && readFileSync(left).equals(readFileSync(right))
}

function fail(reason) {
  console.error(`build-native: ${reason}`)
  process.exit(1)
}
