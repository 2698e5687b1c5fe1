/** What `npm run pack` has made, and empty folders to install it into. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { packageOf, target } from '../../ts/native/target.ts'
import { npm } from './node-versions.ts'

/** The repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url))
/** Where the tarballs are. */
export const packages = join(root, 'build', 'packages')

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }

/** The tarball of a package. */
export function tarballOf(name: string): string {
  return join(packages, `${name.replace('@', '').replace('/', '-')}-${version}.tgz`)
}

/** The facade and the package for this process. */
export const tarballs = [tarballOf('vfio'), tarballOf(packageOf(target()))]

/** Whether they are there and newer than what they are made of; else {@link whyNotPacked}. */
export const packed =
  tarballs.every(existsSync) && isNewer(tarballs[0], 'dist', '.js') && isNewer(tarballs[1], 'crates', '.rs')
/** Why tests of the tarballs cannot run. */
export const whyNotPacked = 'the tarballs are missing or older than the sources: npm run pack'

function isNewer(tarball: string | undefined, folder: string, ending: string): boolean {
  const made = statSync(tarball ?? '').mtimeMs
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .every((file) => statSync(join(root, folder, file)).mtimeMs <= made)
}

/** An empty folder with packages installed, as a project of a user's. */
export class Project {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'vfio-package-')))
  readonly node: string

  constructor(node: string, type: 'module' | 'commonjs' = 'module') {
    this.node = node
    writeFileSync(join(this.folder, 'package.json'), JSON.stringify({ private: true, type }))
  }

  /** No Rust here, and no registry: a home of its own, and nothing on the path but Node and the system's programs. */
  get env(): NodeJS.ProcessEnv {
    return {
      HOME: this.folder,
      PATH: [dirname(this.node), '/usr/bin', '/bin'].join(':'),
      npm_config_offline: 'true',
      npm_config_update_notifier: 'false',
    }
  }

  /** Installs tarballs with npm. */
  install(files: readonly string[]): void {
    npm(this.node, this.folder, ['install', '--no-audit', '--no-fund', '--silent', ...files], this.env)
  }

  /** Runs a program to its end and gives what it prints. @throws it failed */
  run(...args: readonly string[]): string {
    const options = { cwd: this.folder, encoding: 'utf8', env: this.env, maxBuffer: 1 << 26, timeout: 120_000 } as const
    return execFileSync(this.node, [...args], { ...options, stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  }

  /** The path of a file in it. */
  path(...names: readonly string[]): string {
    return join(this.folder, ...names)
  }
}
