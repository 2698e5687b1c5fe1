/** `vfio host`: a simulated machine that the other commands talk to. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { SoftwareHost } from '../index.ts'
import { type Call, type Command, EXIT, UsageError } from './command.ts'
import { HostClient } from './daemon/client.ts'
import type { HostAbout } from './daemon/protocol.ts'
import { HostServer } from './daemon/server.ts'
import { socketPath } from './daemon/socket-path.ts'
import { userDefinitions } from './machine/choice.ts'
import { MountedRoot } from './machine/mounted-root.ts'
import { SoftwareTree } from './machine/software-tree.ts'
import { DefinitionFolder } from './mdev/definition-folder.ts'
import { CONFIG } from './mdev/options.ts'
import { startDevice } from './mdev/sysfs.ts'
import { answer, event } from './output.ts'
import { machineOf } from './topology-file.ts'
import { VERSION } from './version.ts'

const MAIN = fileURLToPath(new URL('main.js', import.meta.url))

export const host: Command = {
  name: 'host',
  summary: 'runs a simulated machine that the other commands talk to',
  description: [
    'The machine lives until the command is interrupted, or another one says --stop. Its default has an mtty parent and devices bound to vfio-pci; --topology gives another. Definitions with start auto are started with it.',
  ],
  options: [
    { name: 'topology', value: 'FILE', summary: 'the machine, as JSON' },
    {
      name: 'mount',
      value: 'DIR',
      summary: 'shows its sys and dev as files below DIR, which mdevctl takes as MDEVCTL_ENV_ROOT',
    },
    { name: 'socket', value: 'PATH', summary: 'where it listens; default: VFIO_HOST, or a private place of the user' },
    { name: 'detach', summary: 'goes on in the background; returns when the host listens' },
    { name: 'stop', summary: 'ends the host that runs' },
    { name: 'status', summary: 'tells about the host that runs' },
    CONFIG,
  ],
  async run(call) {
    const path = socketPath(call.text('socket'))
    const modes = ['detach', 'stop', 'status'].filter((name) => call.flag(name))
    if (modes.length > 1) throw new UsageError(`--${modes.join(' and --')} contradict each other`)
    if (call.flag('stop')) return stopHost(path)
    if (call.flag('status')) return tellStatus(call, path)
    return call.flag('detach') ? detach(call, path) : runHost(call, path)
  },
}

async function runHost(call: Call, path: string): Promise<number> {
  using machine = await machineOf(call.text('topology'))
  const about: HostAbout = { pid: process.pid, version: VERSION, mounts: [] }
  let stop = (): void => {}
  const stopped = new Promise<void>((resolve) => (stop = resolve))
  const server = await HostServer.listen({ host: machine, path, about, stop })
  let root: MountedRoot | undefined
  try {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop)
    const directory = call.text('mount')
    if (directory !== undefined) {
      root = await MountedRoot.make(machine, directory)
      about.mounts.push(root.directory)
      event(call.json, 'mounted', { directory: root.directory })
    }
    await startDefined(machine, call)
    event(call.json, 'listening', { socket: path, pid: process.pid })
    await stopped
  } finally {
    await root?.close()
    await server.close()
  }
  event(call.json, 'stopped')
  return EXIT.done
}

/** Starts what is defined to be started with its parent; what cannot be is told. */
async function startDefined(machine: SoftwareHost, call: Call): Promise<void> {
  const tree = new SoftwareTree(machine)
  const devices = await new DefinitionFolder(call.text('config') ?? userDefinitions()).list()
  for (const device of devices) {
    const { uuid, parent, mdevType } = device
    if (device.start !== 'auto' || machine.mdev.parent(parent) === undefined) continue
    try {
      await startDevice(tree, { uuid, parent, mdevType }, device.attrs)
      event(call.json, 'started', { uuid, parent, type: mdevType })
    } catch (error) {
      event(call.json, 'not started', { uuid, reason: (error as Error).message })
    }
  }
}

async function detach(call: Call, path: string): Promise<number> {
  const passed = ['topology', 'config', 'mount'].flatMap((name) => {
    const value = call.text(name)
    return value === undefined ? [] : [`--${name}`, value]
  })
  const child = spawn(process.execPath, [MAIN, 'host', '--socket', path, '--json', ...passed], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let complaint = ''
  child.stderr.on('data', (text: Buffer) => (complaint += text.toString()))
  const listening = new Promise<void>((resolve) => {
    child.stdout.on('data', (text: Buffer) => {
      output += text.toString()
      if (output.includes('"event":"listening"')) resolve()
    })
  })
  const ended = once(child, 'close').then(() => {
    process.stderr.write(complaint)
    return child.exitCode ?? EXIT.refused
  })
  const code = await Promise.race([listening, ended])
  if (code !== undefined) return code
  child.stdout.destroy()
  child.stderr.destroy()
  child.unref()
  answer(call.json, { socket: path, pid: child.pid }, ({ socket, pid }) => `host ${pid} listens at ${socket}`)
  return EXIT.done
}

async function stopHost(path: string): Promise<number> {
  using client = await HostClient.connect(path)
  await client.call('stop', {})
  await client.ended()
  return EXIT.done
}

async function tellStatus(call: Call, path: string): Promise<number> {
  using client = await HostClient.connect(path)
  const about = await client.call('about', {})
  answer(call.json, { socket: path, ...about }, ({ pid, version, mounts }) => {
    const mounted = mounts.length === 0 ? '' : `, mounted at ${mounts.join(', ')}`
    return `host ${pid} (vfio ${version}) listens at ${path}${mounted}`
  })
  return EXIT.done
}
