/** Commands that the other scripts run: from the repository's root, their output on stderr, no input. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const root = fileURLToPath(new URL('..', import.meta.url))

/** Says what is going on. Standard output stays free for results. */
export function say(text) {
  console.error(text)
}

/** Ends the script with a reason. */
export function fail(reason) {
  console.error(`\n${reason}`)
  process.exit(1)
}

/**
 * Runs a command and returns its exit code; its output goes to stderr, or where `stdio` says. A command that is not
 * installed ends the script, or with `missing: 'ignore'` counts as failed.
 */
export function run(command, args, options = {}) {
  const { stdio = ['ignore', process.stderr, process.stderr], env = {}, cwd = root, missing } = options
  const done = spawnSync(command, args, { cwd, stdio, env: { ...process.env, ...env } })
  if (done.error?.code === 'ENOENT' && missing === 'ignore') return 127
  if (done.error?.code === 'ENOENT')
    fail(`${command} is not installed; ${REMEDY[command] ?? 'install it and try again'}`)
  if (done.error) fail(`${command}: ${done.error.message}`)
  return done.status ?? 1
}

/** Runs a script of this package or a tool of `node_modules` with this Node. */
export function node(file, args = [], options) {
  return run(process.execPath, [file, ...args], options)
}

/** Runs npm: the one that started us, or the one on the path. */
export function npm(args, options) {
  const own = process.env['npm_execpath']
  if (own !== undefined && /npm-cli\.c?js$/.test(own)) return node(own, args, options)
  return run(process.platform === 'win32' ? 'npm.cmd' : 'npm', args, options)
}

const REMEDY = { cargo: 'install a Rust toolchain: https://rustup.rs', python3: 'install Python 3 with pip' }
