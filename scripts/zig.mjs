/**
 * The cross linker: cargo-zigbuild and zig, both from PyPI, unpacked into `~/.cache/vfio-cross` at first use.
 *
 * Zig links against the glibc that it is told, so what is built on any Linux runs on old ones, and on other processors.
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fail, run, say } from './command.mjs'
import { GLIBC_FLOOR, rustFlags, TARGETS } from './targets.mjs'

const PACKAGES = ['ziglang==0.17.0', 'cargo-zigbuild==0.24.0']

/** Builds the addon for a target of Linux in release mode. */
export function zigbuild(target) {
  const { rust, libc } = TARGETS[target]
  const tools = install()
  addRustTarget(rust)
  const wanted = libc === 'glibc' ? `${rust}.${GLIBC_FLOOR}` : rust
  const env = {
    PATH: `${join(tools, 'bin')}${delimiter}${process.env['PATH'] ?? ''}`,
    PYTHONPATH: tools,
    ...(rustFlags(target) === '' ? {} : { RUSTFLAGS: rustFlags(target) }),
  }
  const status = run('cargo', ['zigbuild', '--package', 'vfio-napi', '--release', '--target', wanted], { env })
  if (status !== 0) fail(`cargo zigbuild failed for ${target}, see above`)
}

/** Adds the standard library of a target, where rustup manages the toolchain. */
export function addRustTarget(rust) {
  if (run('rustup', ['target', 'add', rust], { stdio: 'ignore', missing: 'ignore' }) !== 0) {
    say(`rustup did not add ${rust}; the build fails unless the toolchain has its standard library`)
  }
}

function install() {
  const cache = process.env['VFIO_CROSS_CACHE'] ?? join(homedir(), '.cache', 'vfio-cross')
  const tools = join(cache, PACKAGES.join('+').replaceAll('==', '-'))
  if (existsSync(join(tools, 'complete'))) return tools
  say(`Installing ${PACKAGES.join(' and ')} into ${tools} …`)
  const fresh = `${tools}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  const options = ['--quiet', '--disable-pip-version-check', '--root-user-action', 'ignore', '--only-binary', ':all:']
  const status = run('python3', ['-m', 'pip', 'install', ...options, '--target', fresh, ...PACKAGES])
  if (status !== 0) fail('pip could not install the cross linker, see above')
  writeFileSync(join(fresh, 'complete'), '')
  try {
    renameSync(fresh, tools)
  } catch (error) {
    rmSync(fresh, { recursive: true })
    if (!existsSync(join(tools, 'complete'))) throw error // else another process was faster
  }
  return tools
}
