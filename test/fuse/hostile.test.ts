import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { mkdir, readdir, readFile, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FuseSession } from '../../ts/fuse/session.ts'
import { target } from '../../ts/native/target.ts'
import { eventually, shell } from '../mount/folder.ts'
import { needsFuse } from '../needs.ts'
import { TextFiles } from './text-files.ts'

const mounts = (): string => readFileSync('/proc/self/mountinfo', 'utf8')
const ADDON = new URL(`../../native/vfio.${target()}.node`, import.meta.url).pathname
/** Mounts a file system that never answers, by the addon alone: other processes and threads cannot load TypeScript. */
const MOUNT = `
  const { mountFuse } = require(addon)
  mountFuse(directory, {}, () => {}).then((mounted) => {
    globalThis.mounted = mounted
    tell()
  })`

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vfio-fuse-'))
})
afterEach(() => {
  if (mounts().includes(directory)) throw new Error(`${directory} is still mounted`)
  rmdirSync(directory)
})

describe('a mounted file system in a hostile world', () => {
  needsFuse()

  it('survives callers that die while they wait', async () => {
    const files = new TextFiles({ slow: '', fine: 'well\n' })
    await using _session = await FuseSession.mount(directory, {}, files)
    const callers = Array.from({ length: 8 }, () => spawn('cat', [join(directory, 'slow')], { stdio: 'ignore' }))
    await eventually(() => expect(files.waiting).toHaveLength(8))
    for (const caller of callers) caller.kill('SIGKILL')
    await Promise.all(callers.map((caller) => new Promise((resolve) => caller.once('exit', resolve))))
    for (const reply of files.waiting) reply.data('too late')
    expect(await readFile(join(directory, 'fine'), 'utf8')).toBe('well\n')
  })

  it('serves many at once', async () => {
    const names = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`file-${i}`, `${i}`.repeat(100)]))
    await using _session = await FuseSession.mount(directory, {}, new TextFiles(names))
    const look = 'for i in 1 2 3 4 5 6 7 8; do (cat "$1"/* | md5sum; ls "$1" | wc -l) & done; wait'
    const { stdout } = await shell(look, directory)
    const lines = stdout.trim().split('\n')
    expect(new Set(lines).size).toBe(2)
    expect(lines).toContain('500')
  })

  it('refuses names that are no text, and offsets that nobody can count', async () => {
    const files = new TextFiles({ one: 'text' })
    await using _session = await FuseSession.mount(directory, {}, files)
    const script = `
import os, sys
at = os.fsencode(sys.argv[1])
def errno(call):
    try: return call()
    except OSError as error: return error.errno
print(errno(lambda: os.stat(at + b'/\\xff')), errno(lambda: os.mkdir(at + b'/\\xff')))
fd = os.open(at + b'/one', os.O_RDWR)
print(errno(lambda: os.pread(fd, 1, 1 << 53)), errno(lambda: os.pwrite(fd, b'x', (1 << 62))), os.pread(fd, 4, 0))`
    const { stdout } = await shell('python3 -c "$1" "$2"', script, directory)
    const [ENOENT, EINVAL] = [2, 22]
    expect(stdout).toBe(`${ENOENT} ${EINVAL}\n${EINVAL} ${EINVAL} b'text'\n`)
    expect(files.text('one')).toBe('text')
  })

  it('takes long writes whole', async () => {
    const files = new TextFiles({ one: '' })
    await using _session = await FuseSession.mount(directory, {}, files)
    await shell('dd if=/dev/zero of="$1" bs=1M count=1', join(directory, 'one'))
    expect(files.text('one')).toHaveLength(1 << 20)
    expect(files.seen.filter((request) => request.op === 'write')).toHaveLength(1)
  })

  it('takes its own mount away and no other', async () => {
    await using outer = await FuseSession.mount(directory, {}, new TextFiles({ outer: '', dir: '' }))
    const inner = await FuseSession.mount(directory, {}, new TextFiles({ inner: '' }))
    await inner.close()
    expect(await readdir(directory)).toEqual(['dir', 'outer'])
    await outer.close()
    await using other = await FuseSession.mount(directory, {}, new TextFiles({ other: '' }))
    await inner.close()
    await outer.close()
    expect(await readdir(directory)).toEqual(['other'])
    expect(other.isOpen).toBe(true)
  })

  it('goes with what was mounted on top of it', async () => {
    const outer = await FuseSession.mount(directory, {}, new TextFiles({ outer: '' }))
    const inner = await FuseSession.mount(directory, {}, new TextFiles({ inner: '' }))
    await outer.close()
    expect(mounts()).not.toContain(directory)
    await inner.close()
    expect(await readdir(directory)).toEqual([])
  })

  it('lies at directories with any name', async () => {
    const at = join(directory, 'a b\\c,d"e\'é\n')
    await mkdir(at)
    const session = await FuseSession.mount(at, { name: 'a name, with=signs' }, new TextFiles({ file: '' }))
    expect(await readdir(at)).toEqual(['file'])
    await session.close()
    await rmdir(at)
  })

  it('goes when its thread is terminated', async () => {
    const worker = new Worker(
      `const { workerData: { addon, directory }, parentPort } = require('node:worker_threads')
      const tell = () => parentPort.postMessage('mounted')
      setInterval(() => {}, 1000)${MOUNT}`,
      { eval: true, workerData: { addon: ADDON, directory } },
    )
    await new Promise((resolve) => worker.once('message', resolve))
    expect(mounts()).toContain(`${directory} `)
    await worker.terminate()
    await eventually(() => expect(mounts()).not.toContain(directory))
  })

  it.each([
    ['SIGKILL', (pid: number) => process.kill(pid, 'SIGKILL')],
    ['an abort', (pid: number) => process.kill(pid, 'SIGABRT')],
    ['a signal to all of its terminal', (pid: number) => process.kill(-pid, 'SIGINT')],
    ['its own will', (pid: number) => process.kill(pid, 'SIGUSR2')],
  ])('goes when its process dies of %s, a caller waiting', async (_, kill) => {
    const script = `const [addon, directory] = process.argv.slice(1)
      process.on('SIGUSR2', () => process.exit(3))
      const tell = () => process.send('mounted')${MOUNT}`
    const child = spawn(process.execPath, ['-e', script, ADDON, directory], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      detached: true,
    })
    const exited = new Promise((resolve) => child.once('exit', resolve))
    await new Promise((resolve) => child.once('message', resolve))
    const caller = spawn('cat', [join(directory, 'file')], { stdio: 'ignore' })
    const gone = new Promise((resolve) => caller.once('exit', resolve))
    kill(child.pid as number)
    await exited
    expect(await gone).not.toBe(0)
    await eventually(() => expect(mounts()).not.toContain(directory))
  })
})
