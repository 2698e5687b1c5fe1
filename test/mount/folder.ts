/** A folder to mount at, which is empty and free again when the test is over; and programs that look into it. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { onTestFinished, vi } from 'vitest'

/** Makes the folder. Called in a test. */
export function folder(): string {
  const directory = mkdtempSync(join(tmpdir(), 'vfio-mount-'))
  onTestFinished(() => {
    const mounted = readFileSync('/proc/self/mountinfo', 'utf8').includes(directory)
    if (mounted) throw new Error(`${directory} is still mounted`)
    rmSync(directory, { recursive: true })
  })
  return directory
}

/** Waits until a check holds. */
export function eventually(check: () => unknown): Promise<unknown> {
  return vi.waitFor(check, { timeout: 20_000 })
}

/** What a program came to. */
export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** Runs a program to its end, without blocking this thread, which answers for the mount. */
export async function program(file: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args, { env: { ...process.env, LC_ALL: 'C', ...env } })
    return { code: 0, stdout, stderr }
  } catch (error) {
    const failed = error as { code?: unknown; stdout?: string; stderr?: string }
    if (typeof failed.code !== 'number') throw error
    return { code: failed.code, stdout: failed.stdout ?? '', stderr: failed.stderr ?? '' }
  }
}

/** Runs a shell script; `$1` and so on are the arguments. */
export function shell(script: string, ...args: string[]): Promise<Outcome> {
  return program('/bin/sh', ['-c', script, 'sh', ...args])
}

/** Another process that watches directories (inotify), and what it has seen: `rename NAME` or `change NAME`. */
export async function watcher(...directories: string[]): Promise<AsyncDisposable & { seen: string[] }> {
  const script = `
    const { watch } = require('node:fs')
    for (const at of process.argv.slice(1)) watch(at, (event, name) => console.log(event + ' ' + name))
    console.log('ready')`
  const child: ChildProcess = spawn(process.execPath, ['-e', script, ...directories], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const seen: string[] = []
  const ready = new Promise<void>((resolve, reject) => {
    child.once('exit', () => reject(new Error('the watcher ended')))
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line === 'ready') resolve()
      else seen.push(line)
    })
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  await ready
  return {
    seen,
    async [Symbol.asyncDispose]() {
      child.kill()
      await exited
    },
  }
}
