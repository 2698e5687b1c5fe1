import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Shell } from '../cli/shell.ts'
import { eventually, program, type Outcome } from '../mount/folder.ts'
import { fuseLack, needs } from '../needs.ts'
import { findMdevctl } from './machine.ts'

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
const OTHER = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1002'

const mounts = (): string => readFileSync('/proc/self/mountinfo', 'utf8')

describe('vfio host --mount', () => {
  const lack = fuseLack()
  needs(lack === undefined, lack ?? '')

  it('shows the machine below a folder, and leaves none of it behind', async () => {
    await using shell = new Shell()
    const root = join(shell.home, 'machine')
    const host = await shell.start('listening', 'host', '--mount', root)
    expect((await readdir(root)).sort()).toEqual(['dev', 'etc', 'sys', 'usr'])
    expect(await readdir(join(root, 'sys/class/mdev_bus'))).toEqual(['mtty'])
    expect(await readdir(join(root, 'sys/bus/pci/devices'))).toEqual(['0000:00:04.0', '0000:00:05.0'])
    expect(await readdir(join(root, 'dev/vfio'))).toContain('vfio')
    const { stdout } = await shell.vfio('host', '--status', '--json')
    expect(JSON.parse(stdout)).toMatchObject({ mounts: [root] })
    expect((await shell.vfio('host', '--stop')).code).toBe(0)
    expect(mounts()).not.toContain(root)
    expect((await readdir(root)).sort()).toEqual(['etc', 'usr'])
    await expect.poll(() => host.exitCode).toBe(0)
  })

  it('shows the machine of a topology file', async () => {
    await using shell = new Shell()
    const root = join(shell.home, 'machine')
    const pci = [{ address: '0000:00:07.0', model: 'nvme', driver: 'nvme' }]
    const topology = shell.file('topology.json', { firstGroup: 5, pci })
    await shell.start('listening', 'host', '--mount', root, '--topology', topology)
    expect(await readdir(join(root, 'sys/kernel/iommu_groups'))).toEqual(['5'])
    const explained = await shell.vfio('explain', '--root', root, '--json')
    expect(JSON.parse(explained.stdout)).toMatchObject([{ group: 5, viable: false }])
  })

  it('goes with its host, whatever that dies of', async () => {
    await using shell = new Shell()
    const root = join(shell.home, 'machine')
    const host = await shell.start('listening', 'host', '--mount', root)
    expect(mounts()).toContain(root)
    host.kill('SIGKILL')
    await expect.poll(mounts, { timeout: 10_000 }).not.toContain(root)
    // The next one finds the folders free.
    await shell.start('listening', 'host', '--mount', root)
  })

  it('says what to do about a mount that its host and its guard left', async () => {
    await using shell = new Shell()
    const root = join(shell.home, 'machine')
    const host = await shell.start('listening', 'host', '--mount', root)
    const guards = (await readdir('/proc'))
      .filter((name) => /^[0-9]+$/.test(name))
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`vfio-fuse-guard\0${root}`)
        } catch {
          return false
        }
      })
    expect(guards).toHaveLength(2)
    for (const guard of guards) process.kill(Number(guard), 'SIGKILL')
    host.kill('SIGKILL')
    await eventually(() => expect(host.signalCode).toBe('SIGKILL'))
    await eventually(() => expect(readdir(join(root, 'sys'))).rejects.toMatchObject({ code: 'ENOTCONN' }))
    const refused = await shell.vfio('host', '--mount', root)
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(`umount -l ${root}/sys`)])
    for (const tree of ['sys', 'dev']) expect((await program('umount', ['-l', join(root, tree)])).code).toBe(0)
  })

  it('covers nothing that is there', async () => {
    await using shell = new Shell()
    const refused = await shell.vfio('host', '--mount', '/')
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('ENOTEMPTY')])
    expect(existsSync(shell.socket)).toBe(false)
    const root = join(shell.home, 'machine')
    mkdirSync(join(root, 'dev'), { recursive: true })
    writeFileSync(join(root, 'dev', 'null'), '')
    expect((await shell.vfio('host', '--mount', root)).code).toBe(1)
    expect(mounts()).not.toContain(root)
    expect(await readdir(join(root, 'dev'))).toEqual(['null'])
  })
})

describe("our command line and Debian's mdevctl on one machine", () => {
  let mdevctl: string
  let missing: string | undefined
  beforeAll(async () => {
    const found = await findMdevctl()
    if ('lack' in found) missing = found.lack
    else mdevctl = found.path
  }, 300_000)
  beforeEach((ctx) => {
    if (missing !== undefined) ctx.skip(missing)
  })

  async function machine() {
    const shell = new Shell()
    const root = join(shell.home, 'machine')
    await shell.start('listening', 'host', '--mount', root, '--config', join(root, 'etc/mdevctl.d'))
    const env = { MDEVCTL_ENV_ROOT: root, RUST_BACKTRACE: '0', RUST_LIB_BACKTRACE: '0' }
    return {
      definitions: join(root, 'etc/mdevctl.d'),
      theirs: (...args: string[]): Promise<Outcome> => program(mdevctl, args, env),
      ours: (...args: string[]) => shell.vfio(...args, '--root', root),
      /** Through the host's socket instead of the files. */
      direct: (...args: string[]) => shell.vfio(...args, '--config', join(root, 'etc/mdevctl.d')),
      [Symbol.asyncDispose]: () => shell[Symbol.asyncDispose](),
    }
  }

  it('say the same', async () => {
    await using both = await machine()
    const same = async (...args: string[]) => {
      const { code, stdout } = await both.theirs(...args)
      expect([args, code]).toEqual([args, 0])
      for (const run of [both.ours, both.direct]) {
        const said = await run(...args)
        expect([args, said.code]).toEqual([args, 0])
        expect(said.stdout.trimEnd()).toBe(stdout.trimEnd())
      }
    }
    await both.theirs('define', '--uuid', UUID, '--parent', 'mtty', '--type', 'mtty-2', '--auto')
    await both.ours('start', '--uuid', OTHER, '--parent', 'mtty', '--type', 'mtty-1')
    await both.direct('define', '--uuid', OTHER)
    await same('types')
    await same('types', '--parent', 'mtty', '--dumpjson')
    await same('list')
    await same('list', '--dumpjson')
    await same('list', '--defined', '--verbose')
    await same('list', '--defined', '--dumpjson')
    await same('list', '--uuid', OTHER, '--dumpjson')
    await same('list', '--defined', '--uuid', UUID, '--dumpjson')
  }, 60_000)

  it('take each other’s definitions', async () => {
    await using both = await machine()
    const file = join(both.definitions, 'mtty', UUID)
    expect((await both.ours('define', '--uuid', UUID, '--parent', 'mtty', '--type', 'mtty-2')).code).toBe(0)
    const written = JSON.parse(await readFile(file, 'utf8'))
    expect((await both.theirs('modify', '--uuid', UUID, '--auto')).code).toBe(0)
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ ...written, start: 'auto' })
    expect((await both.theirs('start', '--uuid', UUID)).code).toBe(0)
    expect((await both.direct('list')).stdout).toBe(`${UUID} mtty mtty-2 auto (defined)\n`)
    expect((await both.direct('stop', '--uuid', UUID)).code).toBe(0)
    expect((await both.theirs('list')).stdout).toBe('')
    expect((await both.theirs('undefine', '--uuid', UUID)).code).toBe(0)
    expect(existsSync(file)).toBe(false)

    expect((await both.theirs('define', '--uuid', OTHER, '--parent', 'mtty', '--type', 'mtty-1')).code).toBe(0)
    const attribute = ['modify', '--uuid', OTHER, '--addattr', 'power/control', '--value', 'on']
    expect((await both.theirs(...attribute)).code).toBe(0)
    expect((await both.ours('start', '--uuid', OTHER)).code).toBe(0)
    expect((await both.theirs('list', '--dumpjson')).stdout).toContain(OTHER)
    expect((await both.ours('modify', '--uuid', OTHER, '--delattr')).code).toBe(0)
    expect(JSON.parse((await both.theirs('list', '--defined', '--uuid', OTHER, '--dumpjson')).stdout)).toMatchObject({
      mdev_type: 'mtty-1',
      attrs: [],
    })
  }, 60_000)
})
