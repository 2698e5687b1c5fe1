import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { connect as attach } from '../../ts/index.ts'
import { join } from 'node:path'
import { Shell } from './shell.ts'

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1002'

describe('the command line', () => {
  it('tells what there is, and what each command does', async () => {
    await using shell = new Shell()
    const overview = await shell.vfio('help')
    const names = [...overview.stdout.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name ?? '')
    expect(names).toEqual(expect.arrayContaining(['host', 'types', 'list', 'start', 'stop', 'serve', 'explain']))
    for (const name of names) {
      const page = await shell.vfio(name, '--help')
      expect([page.code, page.stdout]).toEqual([0, expect.stringContaining(`usage: vfio ${name}`)])
    }
    expect((await shell.vfio('--version')).stdout).toMatch(/^[0-9.]+\n$/)
  }, 60_000)

  it('ends with a code by the class of what happened', async () => {
    await using shell = new Shell()
    expect((await shell.vfio()).code).toBe(2)
    expect((await shell.vfio('dance')).code).toBe(2)
    expect((await shell.vfio('start', '--frobnicate')).code).toBe(2)
    expect((await shell.vfio('serve', 'edu')).stderr).toContain('--socket is missing')
    expect((await shell.vfio('list')).code).toBe(3)
    expect((await shell.vfio('explain', join(shell.home, 'none.json'))).code).toBe(3)
    expect((await shell.vfio('explain', shell.file('t.json', { pci: 3 }))).code).toBe(1)
    const { stdout, stderr } = await shell.vfio('list', '--json')
    expect([stdout, JSON.parse(stderr)]).toEqual(['', { error: expect.objectContaining({ code: 'ECONNREFUSED' }) }])
  })

  it('explains the groups of a topology, and tells by its exit code whether one is viable', async () => {
    await using shell = new Shell()
    const file = shell.file('t.json', {
      pci: [
        { address: '0000:00:1e.0', bridge: 'pcie-to-pci' },
        { address: '0000:01:0d.0', model: 'edu', behind: '0000:00:1e.0', driver: 'vfio-pci' },
        { address: '0000:01:0d.1', model: 'inert', behind: '0000:00:1e.0', driver: 'emu10k1' },
        { address: '0000:00:02.0', model: 'nvme', driver: 'vfio-pci' },
      ],
    })
    const all = await shell.vfio('explain', file)
    expect(all.code).toBe(0)
    expect(all.stdout).toContain('group 0 is not viable')
    expect(all.stdout).toContain('echo 0000:01:0d.1 > /sys/bus/pci/devices/0000:01:0d.1/driver/unbind')
    expect((await shell.vfio('explain', file, '--device', '0000:01:0d.0')).code).toBe(4)
    const good = await shell.vfio('explain', file, '--device', '0000:00:02.0', '--json')
    expect([good.code, JSON.parse(good.stdout)]).toEqual([0, [expect.objectContaining({ group: 1, viable: true })]])
    expect((await shell.vfio('explain', file, '--group', '7')).code).toBe(2)
    // This computer's own tree can be looked at whatever it has.
    expect((await shell.vfio('explain')).code).toBe(0)
  })

  it('paints for nobody who cannot see it', async () => {
    await using shell = new Shell()
    const { stdout } = await shell.command({ FORCE_COLOR: '1', NO_COLOR: '1' }, ['explain', shell.file('t.json', {})])
    expect(stdout.includes('\u001b')).toBe(false)
  })

  it('makes completions that the shell takes, and a manual page', async () => {
    await using shell = new Shell()
    const script = shell.file('bash', (await shell.vfio('completion', 'bash')).stdout)
    const program = `source ${script}; COMP_WORDS=(vfio st); COMP_CWORD=1; _vfio; echo "\${COMPREPLY[@]}"
      COMP_WORDS=(vfio serve --s); COMP_CWORD=2; _vfio; echo "\${COMPREPLY[@]}"`
    expect(execFileSync('bash', ['-c', program], { encoding: 'utf8' })).toBe('start stop\n--socket\n')
    expect((await shell.vfio('completion', 'zsh')).stdout).toContain('#compdef vfio')
    expect((await shell.vfio('completion', 'fish')).stdout).toContain('-l socket -r')
    expect((await shell.vfio('completion', 'tcsh')).code).toBe(2)
    const page = (await shell.vfio('help', '--man')).stdout
    expect(page).toMatch(/^\.TH VFIO 1/)
    expect(page).toContain('.SS "vfio start [OPTIONS]"')
  })
})

describe('vfio serve', () => {
  it('serves a device of the host that runs, which keeps it when the command ends', async () => {
    await using shell = new Shell()
    await shell.start('listening', 'host')
    await shell.vfio('start', '-u', UUID, '-p', 'mtty', '-t', 'mtty-1')
    const socket = join(shell.home, 'device.sock')
    const serving = await shell.start('listening', 'serve', UUID, '--socket', socket)
    const device = await attach(socket)
    const config = await device.region(7).read(0n, 4)
    expect(Buffer.from(config).toString('hex')).toBe('48435332')
    await device.close()
    serving.kill('SIGTERM')
    await once(serving, 'exit')
    expect(serving.exitCode).toBe(0)
    expect((await shell.vfio('list')).stdout).toContain(UUID)
    expect((await shell.vfio('serve', '0000:00:1f.7', '--socket', socket)).stderr).toContain('the host has no device')
  })

  it('ends when the host goes', async () => {
    await using shell = new Shell()
    const host = await shell.start('listening', 'host')
    const serving = await shell.start('listening', 'serve', '0000:00:04.0', '--socket', join(shell.home, 'd.sock'))
    host.kill('SIGKILL')
    await once(serving, 'exit')
    expect(serving.exitCode).toBe(3)
  })
})

describe('the host', () => {
  it('survives whatever is sent to it', async () => {
    await using shell = new Shell()
    await shell.start('listening', 'host')
    const lines = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record({
          id: fc.integer(),
          call: fc.constantFrom('list', 'read', 'write', 'realpath', 'serve', 'x', '__proto__'),
          arguments: fc.anything(),
        })
        .map((request) => JSON.stringify(request)),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(lines, { maxLength: 8 }), async (sent) => {
        const socket = connect(shell.socket)
        await once(socket, 'connect')
        socket.on('error', () => {})
        socket.resume()
        socket.end(`${sent.join('\n')}\n`)
        await closed(socket)
      }),
      { numRuns: 50 },
    )
    const flood = connect(shell.socket)
    flood.on('error', () => {})
    flood.resume()
    flood.write('x'.repeat(3 << 20))
    await closed(flood)
    expect((await shell.vfio('types')).code).toBe(0)
  })
})

/** Settles when a socket has closed, however. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}
