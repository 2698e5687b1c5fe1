/** The application for Electron: its utility process as a child of Node, its other parts as far as they go without Electron. */
import { fork, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MessageChannel } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Client, type Port } from '../../examples/electron-vmm/client.mjs'
import { dump } from '../../examples/electron-vmm/dump.mjs'
import { Machine } from '../../examples/electron-vmm/machine.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SHIM = fileURLToPath(new URL('electron-port.mjs', import.meta.url))
const PAGE = 4096
const error = (code: string, message: RegExp): unknown =>
  expect.objectContaining({ code, message: expect.stringMatching(message) })

/** The application as it is installed: with this package among its modules. */
let application: string
beforeAll(() => {
  application = mkdtempSync(join(tmpdir(), 'electron-vmm-'))
  cpSync(join(ROOT, 'examples', 'electron-vmm'), application, { recursive: true })
  mkdirSync(join(application, 'node_modules'))
  symlinkSync(ROOT, join(application, 'node_modules', 'vfio'), 'junction')
})
afterAll(() => rmSync(application, { recursive: true, force: true }))

/** Starts the utility process, ends it with the test. */
async function withChild(
  options: { execArgv?: string[]; env?: NodeJS.ProcessEnv },
  work: (client: Client, child: ChildProcess) => Promise<void>,
): Promise<void> {
  const { execArgv = [], env = {} } = options
  const child = fork(join(application, 'vmm.mjs'), {
    serialization: 'advanced',
    execArgv,
    env: { ...process.env, ...env },
  })
  const port: Port = {
    postMessage: (message) => void child.send(message as object),
    addEventListener: (_, listener) => void child.on('message', (data) => listener({ data })),
  }
  const client = new Client(port)
  const ended = once(child, 'exit')
  try {
    await work(client, child)
  } finally {
    if (child.connected) child.disconnect()
    await ended
  }
}

describe('the utility process', () => {
  const ways: [string, { execArgv?: string[]; env?: NodeJS.ProcessEnv }][] = [
    ['a child of Node', {}],
    ['a child of Node with external buffers refused', { env: { VFIO_EXTERNAL_BUFFERS: '0' } }],
    ["a process with Electron's parentPort", { execArgv: ['--import', SHIM] }],
  ]
  it.each(ways)('hosts the machine as %s', async (_, options) => {
    await withChild(options, async (client) => {
      const about = await client.ask('describe', {})
      expect(about.versions.node).toBe(process.versions.node)
      const refused = { ...process.env, ...options.env }['VFIO_EXTERNAL_BUFFERS'] === '0'
      expect(about.externalBuffers).toBe(refused ? 'refused' : 'allowed')
      expect(about.view).toBe(true) // with external buffers or without
      expect(await client.ask('send', { text: 'Data is loop backed' })).toEqual({ echo: 'Data is loop backed' })

      const bytes = Uint8Array.from({ length: PAGE }, (_value, i) => (i * 7) & 0xff)
      await client.ask('write', { at: 0, bytes })
      expect(await client.ask('copy', { from: 0, to: 3 * PAGE, length: PAGE })).toEqual({ faults: '' })
      expect((await client.ask('read', { at: 3 * PAGE, length: PAGE })).bytes).toEqual(bytes)
    })
  })

  it('says what a device may not do', async () => {
    await withChild({}, async (client) => {
      const { faults } = await client.ask('copy', { from: 0x0fff_0000, to: 0, length: 16 })
      expect(faults).toMatch(/DMA read of 0x10 bytes at 0xfff0000 refused/)
    })
  })

  it('crashes alone, and another takes its place', async () => {
    await withChild({}, async (client, child) => {
      const crashed = client.ask('crash', {})
      const [code] = (await once(child, 'exit')) as [number]
      expect(code).toBe(70)
      client.close(new Error('the machine has ended'))
      await expect(crashed).rejects.toThrow('the machine has ended')
      await expect(client.ask('describe', {})).rejects.toThrow('the machine has ended')
    })
    await withChild({}, async (client) => expect((await client.ask('describe', {})).view).toBe(true))
  })

  it('answers nonsense with errors, and goes on', async () => {
    await withChild({}, async (client, child) => {
      const ask = (name: string, request?: unknown): Promise<unknown> => client.ask(name as never, request as never)
      await expect(ask('fly')).rejects.toEqual(error('ERR_MACHINE', /no request "fly"/))
      await expect(ask('send', { text: 5 })).rejects.toEqual(error('ERR_MACHINE', /text must be a string/))
      await expect(ask('send')).rejects.toEqual(error('ERR_MACHINE', /text/))
      await expect(ask('write', { at: -1, bytes: new Uint8Array(1) })).rejects.toEqual(
        error('ERR_OUT_OF_RANGE', /offset/),
      )
      await expect(ask('write', { at: 2 ** 30, bytes: new Uint8Array(1) })).rejects.toEqual(
        error('EFAULT', /0x40000000/),
      )
      await expect(ask('write', { at: 0, bytes: [1] })).rejects.toEqual(error('ERR_MACHINE', /Uint8Array/))
      await expect(ask('read', { at: 0, length: 2 ** 40 })).rejects.toEqual(error('ERR_MACHINE', /guest memory has/))
      await expect(ask('copy', { from: 'x' })).rejects.toEqual(error('ERR_INVALID_ARG_TYPE', /bigint/))
      await expect(ask('copy', { length: PAGE + 1 })).rejects.toEqual(error('ERR_MACHINE', /buffer has 4096/))
      for (const junk of [null, 5, 'x', [], { id: {} }, { id: 1n }]) child.send(junk as never)
      expect(await client.ask('send', { text: 'still here' })).toEqual({ echo: 'still here' })
    })
  })
})

describe('the other parts', () => {
  it('a page and a machine talk over a channel of ports', async () => {
    const { port1, port2 } = new MessageChannel()
    const machine = new Machine()
    port2.on('message', (message) => port2.postMessage(machine.answer(message)))
    const client = new Client(port1 as unknown as Port)
    expect(await client.ask('send', { text: 'hello' })).toEqual({ echo: 'hello' })
    port1.close()
    machine.close()
    machine.close()
  })

  it('bytes are shown with their addresses', () => {
    expect(
      dump(
        Uint8Array.from({ length: 18 }, (_, i) => 0x3c + i),
        0x1000,
      ),
    ).toBe(
      [
        '00001000  3c 3d 3e 3f 40 41 42 43 44 45 46 47 48 49 4a 4b  <=>?@ABCDEFGHIJK',
        `00001010  4c 4d${' '.repeat(42)}  LM`,
      ].join('\n'),
    )
  })

  it('the main process starts a machine, and another when that has crashed', () => {
    const program = fileURLToPath(new URL('electron-standin.mjs', import.meta.url))
    const run = spawnSync(process.execPath, [program, join(application, 'main.mjs')], {
      encoding: 'utf8',
      timeout: 25_000,
    })
    expect({ stderr: run.stderr, told: run.stdout.trim() }).toEqual({
      stderr: '',
      told: JSON.stringify(['one', 70, 'the machine has ended', 'two']),
    })
  })

  it.each(['main.mjs', 'renderer.mjs', 'preload.cjs'])('%s is sound as far as Node reads it', (file) => {
    expect(spawnSync(process.execPath, ['--check', join(application, file)], { encoding: 'utf8' }).stderr).toBe('')
  })
})
