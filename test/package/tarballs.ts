/** What `npm run pack` has made, and empty folders to install it into. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
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

/** A program that runs until it is told to stop. */
export interface Running {
  stop(): Promise<{ code: number | null; output: string }>
}

/** An empty folder with packages installed, as a project of a user's. */
export class Project {
  readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'vfio-package-')))
  readonly #command: readonly [string, ...string[]]

  /** `command`: how programs are run, such as `['/usr/bin/node']`. */
  constructor(...command: readonly [string, ...string[]]) {
    this.#command = command
    writeFileSync(this.path('package.json'), JSON.stringify({ private: true, type: 'module' }))
  }

  /** No Rust here, and no registry: a home of its own, and nothing on the path but Node and the system's programs. */
  get env(): NodeJS.ProcessEnv {
    return {
      HOME: this.folder,
      PATH: [dirname(this.#command[0]), '/usr/bin', '/bin'].join(':'),
      npm_config_offline: 'true',
      npm_config_update_notifier: 'false',
    }
  }

  /** Installs tarballs with npm, which runs on `node`. */
  install(files: readonly string[], node = this.#command[0], ...options: readonly string[]): void {
    npm(node, this.folder, ['install', '--no-audit', '--no-fund', '--silent', ...options, ...files], this.env)
  }

  /** Runs a program to its end and gives what it prints. @throws it failed */
  run(...args: readonly string[]): string {
    const [file, ...first] = this.#command
    const options = { cwd: this.folder, encoding: 'utf8', env: this.env, maxBuffer: 1 << 26, timeout: 300_000 } as const
    return execFileSync(file, [...first, ...args], { ...options, stdio: ['ignore', 'pipe', 'pipe'] }).trim()
  }

  /** Starts a program and waits for its first words. */
  async start(...args: readonly string[]): Promise<Running> {
    const [file, ...first] = this.#command
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    const child = spawn(file, [...first, ...args], { cwd: this.folder, env: this.env, stdio: [...stdio] })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    const ended = once(child, 'close') as Promise<[number | null]>
    await Promise.race([once(child.stdout, 'data'), ended])
    return {
      stop: async () => {
        child.kill('SIGTERM')
        const [code] = await ended
        return { code, output }
      },
    }
  }

  /** The path of a file in it. */
  path(...names: readonly string[]): string {
    return join(this.folder, ...names)
  }

  /** Removes it. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
