import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Shell } from './shell.ts'

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'

describe('vfio host and the commands for mediated devices', () => {
  it('lists types as mdevctl does, in text and in JSON', async () => {
    await using shell = new Shell()
    await shell.start('listening', 'host')
    const text = await shell.vfio('types', '--parent', 'mtty')
    expect(text.stdout.split('\n').slice(0, 5)).toEqual([
      'mtty',
      '  mtty-1',
      '    Available instances: 24',
      '    Device API: vfio-pci',
      '    Name: Single port serial',
    ])
    const json = JSON.parse((await shell.vfio('types', '--dumpjson')).stdout) as unknown
    expect(json).toEqual([
      {
        mtty: [
          { 'mtty-1': { available_instances: 24, device_api: 'vfio-pci', name: 'Single port serial' } },
          { 'mtty-2': { available_instances: 12, device_api: 'vfio-pci', name: 'Dual port serial' } },
        ],
      },
    ])
  })

  it('makes a device that outlives the command, and removes it', async () => {
    await using shell = new Shell()
    await shell.start('listening', 'host')
    expect(await shell.vfio('start', '-u', UUID, '-p', 'mtty', '-t', 'mtty-2')).toMatchObject({ code: 0, stdout: '' })
    expect((await shell.vfio('list')).stdout).toBe(`${UUID} mtty mtty-2 manual\n`)
    const again = await shell.vfio('start', '-u', UUID, '-p', 'mtty', '-t', 'mtty-2', '--json')
    expect(again.code).toBe(1)
    expect(JSON.parse(again.stderr)).toMatchObject({ error: { code: 'EEXIST' } })
    expect(await shell.vfio('stop', '-u', UUID)).toMatchObject({ code: 0 })
    expect((await shell.vfio('list')).stdout).toBe('')
    expect((await shell.vfio('stop', '-u', UUID)).code).toBe(1)
  })

  it('prints the UUID that it made up', async () => {
    await using shell = new Shell()
    await shell.start('listening', 'host')
    const { stdout } = await shell.vfio('start', '-p', 'mtty', '-t', 'mtty-1')
    expect(stdout).toMatch(/^[0-9a-f-]{36}\n$/)
    expect((await shell.vfio('list', '--uuid', stdout.trim(), '--dumpjson')).stdout).toContain('"mdev_type": "mtty-1"')
  })

  it('says what stands in the way of a start, and what there is instead', async () => {
    await using shell = new Shell()
    await shell.start(
      'listening',
      'host',
      '--topology',
      shell.file('t.json', { mdev: [{ driver: 'mtty', options: { ports: 2 } }] }),
    )
    const refused = async (...args: string[]) => (await shell.vfio('start', ...args)).stderr
    expect(await refused('-p', 'MTTY', '-t', 'mtty-1')).toContain("did you mean 'mtty'?")
    expect(await refused('-p', 'mtty', '-t', 'mtty-9')).toContain('it offers mtty-1, mtty-2')
    expect(await refused('-u', 'x', '-p', 'mtty', '-t', 'mtty-1')).toContain('no UUID')
    await shell.vfio('start', '-p', 'mtty', '-t', 'mtty-2')
    expect(await refused('-p', 'mtty', '-t', 'mtty-1')).toContain('no instance of mtty-1 left')
  })

  it('keeps definitions, changes them and starts from them', async () => {
    await using shell = new Shell()
    const host = await shell.start('listening', 'host')
    const file = join(shell.home, '.config', 'vfio', 'mdevctl.d', 'mtty', UUID)
    expect((await shell.vfio('define', '-u', UUID, '-p', 'mtty', '-t', 'mtty-1', '--auto')).code).toBe(0)
    expect(readFileSync(file, 'utf8')).toBe('{\n  "mdev_type": "mtty-1",\n  "start": "auto",\n  "attrs": []\n}')
    expect((await shell.vfio('define', '-u', UUID, '-p', 'mtty', '-t', 'mtty-2')).code).toBe(1)
    await shell.vfio('modify', '-u', UUID, '--type', 'mtty-2', '--addattr', 'a', '--value', '1')
    await shell.vfio('modify', '-u', UUID, '--addattr', 'b', '--value', '2', '--index', '0')
    expect((await shell.vfio('list', '-d', '-v')).stdout).toBe(
      `${UUID} mtty mtty-2 auto\n  Attrs:\n    @{0}: {"b":"2"}\n    @{1}: {"a":"1"}\n`,
    )
    expect((await shell.vfio('modify', '-u', UUID, '--delattr', '--index', '2')).code).toBe(1)
    expect((await shell.vfio('start', '-u', UUID)).stderr).toContain("no attribute 'b'")
    expect((await shell.vfio('list')).stdout).toBe('')
    await shell.vfio('modify', '-u', UUID, '--delattr')
    await shell.vfio('modify', '-u', UUID, '--delattr')
    host.kill('SIGTERM')
    // Another host on the same definitions starts what is to be started.
    await shell.start('started', 'host', '--socket', join(shell.home, 'other.sock'))
    const other = ['--host', join(shell.home, 'other.sock')]
    expect((await shell.vfio('list', ...other)).stdout).toBe(`${UUID} mtty mtty-2 auto (defined)\n`)
    expect((await shell.vfio('undefine', '-u', UUID, ...other)).code).toBe(0)
    expect(existsSync(file)).toBe(false)
    expect((await shell.vfio('list', ...other)).stdout).toBe(`${UUID} mtty mtty-2 manual\n`)
  })

  it('defines a running device by its UUID alone, and refuses files that are no definitions', async () => {
    await using shell = new Shell()
    await shell.start('listening', 'host')
    await shell.vfio('start', '-u', UUID, '-p', 'mtty', '-t', 'mtty-1')
    expect((await shell.vfio('define', '-u', UUID)).code).toBe(0)
    expect((await shell.vfio('list', '-d')).stdout).toBe(`${UUID} mtty mtty-1 manual (active)\n`)
    for (const content of [
      '{',
      '[]',
      '{"mdev_type":1,"start":"auto"}',
      '{"mdev_type":"x","start":"auto","attrs":[{}]}',
    ]) {
      const jsonfile = shell.file('d.json', content)
      const { code, stderr } = await shell.vfio('define', '-p', 'mtty', '--jsonfile', jsonfile)
      expect([code, stderr]).toEqual([1, expect.stringContaining(jsonfile)])
    }
  })

  it('listens privately, takes the place of a host that died, and none of one that lives', async () => {
    await using shell = new Shell()
    const first = await shell.start('listening', 'host')
    expect(statSync(shell.socket).mode & 0o777).toBe(0o600)
    expect((await shell.vfio('host')).stderr).toContain('EADDRINUSE')
    first.kill('SIGKILL')
    await new Promise((resolve) => first.once('exit', resolve))
    expect(existsSync(shell.socket)).toBe(true)
    expect((await shell.vfio('types')).code).toBe(3)
    const detached = await shell.vfio('host', '--detach', '--json')
    expect(detached.code).toBe(0)
    const { pid } = JSON.parse((await shell.vfio('host', '--status', '--json')).stdout) as { pid: number }
    expect(JSON.parse(detached.stdout)).toEqual({ socket: shell.socket, pid })
    expect((await shell.vfio('host', '--stop')).code).toBe(0)
    expect(existsSync(shell.socket)).toBe(false)
    expect((await shell.vfio('host', '--stop')).code).toBe(3)
  })
})
