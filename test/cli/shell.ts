/** A user's shell: a home of its own, in which the command line tool runs. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** What a command printed, and its exit code. */
export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A shell; the host that it started and its folders go with it. */
export class Shell {
  readonly home = mkdtempSync(join(tmpdir(), 'vfio-cli-'))
  readonly socket = join(this.home, 'vfio', 'host.sock')
  readonly #background: ChildProcess[] = []

  /** Runs `vfio ARGS…` to its end. */
  async vfio(...args: string[]): Promise<Outcome> {
    return this.command({}, args)
  }

  /** Likewise, with more variables of the environment. */
  async command(env: Record<string, string>, args: readonly string[]): Promise<Outcome> {
    const child = this.#spawn(args, env)
    let stdout = ''
    let stderr = ''
    child.stdout?.on('data', (bytes: Buffer) => (stdout += bytes.toString()))
    child.stderr?.on('data', (bytes: Buffer) => (stderr += bytes.toString()))
    await once(child, 'close')
    return { code: child.exitCode, stdout, stderr }
  }

  /** Starts `vfio ARGS…` and waits until it has printed `text`. */
  async start(text: string, ...args: string[]): Promise<ChildProcess> {
    const child = this.#spawn(args, {})
    this.#background.push(child)
    let output = ''
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on('data', (bytes: Buffer) => {
        output += bytes.toString()
        if (output.includes(text)) resolve()
      })
      child.stderr?.on('data', (bytes: Buffer) => (output += bytes.toString()))
      child.once('exit', () => reject(new Error(`it ended without saying '${text}': ${output}`)))
    })
    return child
  }

  /** Writes a file into the home and gives its path. */
  file(name: string, content: unknown): string {
    const path = join(this.home, name)
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
    return path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#background) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }
    rmSync(this.home, { recursive: true, force: true })
  }

  #spawn(args: readonly string[], env: Record<string, string>): ChildProcess {
    const { VFIO_HOST: _none, ...inherited } = process.env
    return spawn(process.execPath, [CLI, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...inherited,
        HOME: this.home,
        XDG_RUNTIME_DIR: this.home,
        XDG_CONFIG_HOME: join(this.home, '.config'),
        ...env,
      },
    })
  }
}
