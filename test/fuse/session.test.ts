import { execFile, spawn } from 'node:child_process'
import { closeSync, mkdtempSync, open, readdirSync, readFileSync, rmdirSync, watch } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FOPEN_DIRECT_IO, FOPEN_PASSTHROUGH, type FuseReply, type FuseRequest } from '../../ts/fuse/request.ts'
import { FuseSession } from '../../ts/fuse/session.ts'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { target } from '../../ts/native/target.ts'
import { eventually } from '../mount/folder.ts'
import { needsFuse } from '../needs.ts'
import { outcome } from '../outcome.ts'
import { TextFiles } from './text-files.ts'

const run = promisify(execFile)
const mounts = (): string => readFileSync('/proc/self/mountinfo', 'utf8')

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vfio-fuse-'))
})
afterEach(() => {
  if (mounts().includes(directory)) throw new Error(`${directory} is still mounted`)
  rmdirSync(directory)
})

/** Files that become ready once somebody waits for that. */
class Unready extends TextFiles {
  session: FuseSession | undefined
  #ready = 0

  override request(request: FuseRequest, reply: FuseReply): void {
    if (request.op !== 'poll') return super.request(request, reply)
    reply.polled(this.#ready)
    const FUSE_POLL_SCHEDULE_NOTIFY = 1
    if ((request.flags & FUSE_POLL_SCHEDULE_NOTIFY) === 0) return
    this.#ready = 1 // POLLIN
    this.session?.wakePoll(request.kh)
  }
}

/** Files behind whose mappings another file stands. */
class Mapped extends TextFiles {
  backing = 0

  override request(request: FuseRequest, reply: FuseReply): void {
    if (request.op !== 'open') return super.request(request, reply)
    reply.opened(request.node - 2, FOPEN_DIRECT_IO | FOPEN_PASSTHROUGH, this.backing)
  }
}

describe('a mounted file system', () => {
  needsFuse()

  it('is listed, read and written by others', async () => {
    const files = new TextFiles({ one: 'first\n', two: 'second\n' })
    await using session = await FuseSession.mount(directory, {}, files)
    expect(mounts()).toContain(`${directory} `)
    expect((await run('ls', [directory])).stdout).toBe('one\ntwo\n')
    expect((await run('cat', [join(directory, 'two')])).stdout).toBe('second\n')
    await writeFile(join(directory, 'one'), 'other')
    expect(files.text('one')).toBe('other')
    expect(session.isOpen).toBe(true)
  })

  it('hears the argument of an ioctl, its thread and its user', async () => {
    const files = new TextFiles({ device: '' })
    await using _session = await FuseSession.mount(directory, {}, files)
    const script = `import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(sys.argv[1], os.O_RDWR)
print(os.getpid(), libc.ioctl(fd, 0x3b64, ctypes.c_ulong(0x1234567890)))
libc.ioctl(fd, 0x3b65, 0)
print(ctypes.get_errno())`
    const { stdout } = await run('python3', ['-c', script, join(directory, 'device')])
    const [pid, result, errno] = stdout.split(/\s+/)
    expect([result, errno]).toEqual(['7', '25'])
    const ioctl = files.seen.find((request) => request.op === 'ioctl')
    expect(ioctl).toMatchObject({ cmd: 0x3b64, arg: 0x1234567890n, tid: Number(pid), uid: 0, fh: 0 })
  })

  it('refuses with what the file system throws, and warns of what it did not mean', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const files = new TextFiles({ broken: '', refusing: '' })
    await using _session = await FuseSession.mount(directory, {}, files)
    await expect(readFile(join(directory, 'refusing'))).rejects.toMatchObject({ code: 'ENODEV' })
    expect(warned).not.toHaveBeenCalled()
    await expect(readFile(join(directory, 'broken'))).rejects.toMatchObject({ code: 'EIO' })
    expect(warned).toHaveBeenCalledOnce()
    warned.mockRestore()
  })

  it('answers late, and hears that a caller has lost patience', async () => {
    const files = new TextFiles({ slow: '' })
    await using _session = await FuseSession.mount(directory, {}, files)
    const reading = readFile(join(directory, 'slow'), 'utf8')
    await eventually(() => expect(files.waiting).toHaveLength(1))
    files.waiting[0]?.data('at last')
    files.waiting[0]?.error('EIO')
    await eventually(() => expect(files.waiting).toHaveLength(2))
    files.waiting[1]?.data('')
    expect(await reading).toBe('at last')
    files.waiting.length = 0
    const cat = spawn('cat', [join(directory, 'slow')], { stdio: 'ignore' })
    await eventually(() => expect(files.waiting).toHaveLength(1))
    const token = files.seen.at(-1)?.token
    cat.kill('SIGINT')
    await new Promise((resolve) => cat.once('exit', resolve))
    expect(files.interrupted).toContain(token)
  })

  it('may be touched while its session closes: whoever waits is let go', async () => {
    const files = new TextFiles({ slow: '' })
    const session = await FuseSession.mount(directory, {}, files)
    const reading = readFile(join(directory, 'slow')).catch((error: NodeJS.ErrnoException) => error.code)
    await eventually(() => expect(files.waiting).toHaveLength(1))
    expect(await session.close()).toBeUndefined()
    expect(await reading).toMatch(/ECONNABORTED|ENOTCONN|ENODEV|EIO/)
    files.waiting[0]?.data('nobody hears this')
    expect(await session.close()).toBeUndefined()
    expect(files.endedWith).toBeUndefined()
    expect(await readdir(directory)).toEqual([])
  })

  it('refuses the thread that serves it, which would wait for itself', async () => {
    await using _session = await FuseSession.mount(directory, {}, new TextFiles({ one: 'text' }))
    const one = join(directory, 'one')
    expect(() => readFileSync(one)).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    expect(() => readdirSync(directory)).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    expect(() => watch(one)).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    closeSync(await promisify(open)(one, 'r'))
    expect(await readFile(one, 'utf8')).toBe('text')
  })

  it('ends when somebody else unmounts it', async () => {
    const files = new TextFiles({})
    const session = await FuseSession.mount(directory, {}, files)
    await run('umount', [directory])
    expect(await session.closed).toBeUndefined()
    expect(session.isOpen).toBe(false)
  })

  it('is refused where there is no directory', async () => {
    const missing = join(directory, 'missing')
    const answer = FuseSession.mount(missing, {}, new TextFiles({}))
    await expect(answer).rejects.toMatchObject({ code: 'ENOENT', path: missing })
    await writeFile(missing, '')
    await expect(FuseSession.mount(missing, {}, new TextFiles({}))).rejects.toMatchObject({ code: 'ENOTDIR' })
    await rm(missing)
    expect(() => FuseSession.mount(7 as never, {}, new TextFiles({}))).toThrow(TypeError)
  })

  it('can lie on another of the same thread', async () => {
    await using _outer = await FuseSession.mount(directory, {}, new TextFiles({ outer: '' }))
    await using _inner = await FuseSession.mount(directory, {}, new TextFiles({ inner: '' }))
    expect(await readdir(directory)).toEqual(['inner'])
  })

  it('goes with its process, however that ends', async () => {
    const at = join(directory, 'dir')
    await mkdir(at)
    const script = `
      const { mountFuse } = require(process.argv[1])
      const mail = () => {}
      mountFuse(process.argv[2], {}, mail).then((mounted) => {
        globalThis.mounted = mounted
        process.send('mounted')
      })`
    const addon = new URL(`../../native/vfio.${target()}.node`, import.meta.url).pathname
    const child = spawn(process.execPath, ['-e', script, addon, at], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    await new Promise((resolve) => child.once('message', resolve))
    expect(mounts()).toContain(`${at} `)
    child.kill('SIGKILL')
    await eventually(() => expect(mounts()).not.toContain(at))
    await rm(at, { recursive: true })
  })

  it('has files whose mappings are another file, while reads and writes are asked for', async (ctx) => {
    const memory = HostMemory.allocate(4096, { kind: 'memfd' })
    memory.write(0, Buffer.from('of the mapping'))
    const files = new Mapped({ bar: 'of the file system'.padEnd(4096) })
    await using session = await FuseSession.mount(directory, { passthrough: true }, files)
    const backing = outcome(() => session.openBacking(memory.fd as number))
    if (backing === 'ENOTTY') return ctx.skip('the kernel is older than 6.9')
    expect(backing).toBeTypeOf('number')
    files.backing = Number(backing)
    const script = `import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
map = mmap.mmap(fd, 4096)
print(os.pread(fd, 18, 0).decode(), '/', map[:14].decode())
map[0:2] = b'in'`
    const { stdout } = await run('python3', ['-c', script, join(directory, 'bar')])
    expect(stdout).toBe('of the file system / of the mapping\n')
    expect(Buffer.from(memory.read(0, 14)).toString()).toBe('in the mapping')
    session.closeBacking(files.backing)
    expect(() => session.closeBacking(files.backing)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
    expect(() => session.openBacking(-1)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    memory.close()
  })

  it('wakes who polls', async () => {
    const files = new Unready({ event: '' })
    await using session = await FuseSession.mount(directory, {}, files)
    files.session = session
    const script = `import os, select, sys
poll = select.poll()
poll.register(os.open(sys.argv[1], os.O_RDONLY), select.POLLIN)
print(poll.poll(0), len(poll.poll(60000)))`
    const { stdout } = await run('python3', ['-c', script, join(directory, 'event')])
    expect(stdout).toBe('[] 1\n')
  })

  it('need not have a place', async () => {
    await using session = await FuseSession.detached({}, new TextFiles({}))
    const fd = session.mountFd()
    expect(fd).toBeGreaterThan(2)
    closeSync(fd)
  })
})
