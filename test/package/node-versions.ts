/** Other versions of Node and TypeScript, from the npm registry, kept in `~/.cache/vfio-node` (or where `VFIO_NODE_CACHE` says). */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

const CACHE = process.env['VFIO_NODE_CACHE'] ?? join(homedir(), '.cache', 'vfio-node')

/** The oldest of each line that is supported, and the newest lines. */
export const NODE_VERSIONS = ['20.19.0', '22.12.0', '24.21.0', '26.10.0'] as const

/** The `node` of a version; fetches it at first use. @throws {Error} the registry did not give it */
export function nodeOf(version: string, platform = `${process.platform}-${process.arch}`): string {
  return join(fetched(`node-${platform}`, version), 'bin', 'node')
}

/** The folder of a package from the registry; fetches it at first use. @throws {Error} the registry did not give it */
export function fetched(name: string, version: string): string {
  const folder = join(CACHE, `${name}-${version}`)
  const contents = join(folder, 'node_modules', name)
  if (existsSync(contents)) return contents
  mkdirSync(CACHE, { recursive: true })
  const fresh = mkdtempSync(`${folder}.`)
  try {
    // Some are for another processor, where an emulator runs them.
    const options = ['--force', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--silent']
    npm(process.execPath, fresh, ['install', ...options, '--prefix', fresh, `${name}@${version}`])
    if (!existsSync(folder)) renameSync(fresh, folder)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
  return contents
}

/** Runs npm with some Node, and gives what it prints. */
export function npm(
  node: string,
  folder: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): string {
  const stdio = ['ignore', 'pipe', 'pipe'] as const
  return execFileSync(node, [npmCli(), ...args], { cwd: folder, encoding: 'utf8', stdio: [...stdio], env })
}

/** The program of the npm that is installed. */
function npmCli(): string {
  const running = process.env['npm_execpath']
  if (running !== undefined && /npm-cli\.c?js$/.test(running)) return running
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const command = join(folder, 'npm')
    if (existsSync(command)) return realpathSync(command)
  }
  return join(dirname(process.execPath), 'node_modules', 'npm', 'bin', 'npm-cli.js')
}
