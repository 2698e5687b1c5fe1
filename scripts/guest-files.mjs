/**
 * The machine behind the guest scene `files`: a host that is mounted, and Debian's mdevctl, which defines and starts the device that
 * is served to the guest, and stops and undefines it afterwards.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from './command.mjs'

const UUID = '83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'
const GET_MDEVCTL = join(root, 'test', 'mdevctl', 'get-mdevctl.sh')

/** What keeps the scene from being played here; undefined: nothing. */
export function lacksFuse() {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch (error) {
    return `/dev/fuse cannot be used here (${error.message})`
  }
  return process.getuid() === 0 ? undefined : 'mounting needs root'
}

/**
 * Starts the machine and the device in it. Gives the arguments of `vfio serve` and what undoes it all; nothing where that fails,
 * which is counted.
 */
export async function managedDevice(cli, folder, count) {
  const got = spawnSync('bash', [GET_MDEVCTL], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  if (got.status !== 0) return void count(false, 'mdevctl can be had')
  const machine = join(folder, 'machine')
  const socket = join(folder, 'host.sock')
  const program = join(got.stdout.trim(), 'mdevctl')
  const env = { ...process.env, MDEVCTL_ENV_ROOT: machine }
  const mdevctl = (...args) => spawnSync(program, args, { env, encoding: 'utf8', timeout: 60_000 })
  const vfio = (...args) => spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8', timeout: 60_000 })

  const host = spawn(process.execPath, [cli, 'host', '--socket', socket, '--mount', machine, '--config', folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(host, 'exit')
  const listening = (async () => {
    for await (const line of createInterface({ input: host.stdout })) if (line.includes('listening')) return true
    return false
  })()
  const finish = async () => {
    host.kill('SIGTERM')
    const [code] = await ended
    count(code === 0, 'the host ended by itself when asked to')
    count(!readFileSync('/proc/self/mountinfo', 'utf8').includes(machine), 'nothing of it stayed mounted')
    count(!existsSync(join(machine, 'sys')), 'nor its folders')
  }
  if (!(await listening)) {
    count(false, 'the host listens and is mounted')
    await finish()
    return undefined
  }
  const defined = mdevctl('define', '--uuid', UUID, '--parent', 'mtty', '--type', 'mtty-2')
  count(defined.status === 0, `mdevctl defined the device${said(defined)}`)
  const started = mdevctl('start', '--uuid', UUID)
  count(started.status === 0, `mdevctl started the device${said(started)}`)
  const listed = vfio('list', '--host', socket)
  count(listed.stdout.startsWith(`${UUID} mtty mtty-2`), 'vfio list shows it')
  return {
    args: ['serve', UUID, '--host', socket],
    async finish() {
      const stopped = mdevctl('stop', '--uuid', UUID)
      count(stopped.status === 0, `mdevctl stopped the device${said(stopped)}`)
      count(readdirSync(join(machine, 'sys/bus/mdev/devices')).length === 0, 'it is gone')
      const undefinedAgain = mdevctl('undefine', '--uuid', UUID)
      count(undefinedAgain.status === 0, `mdevctl undefined the device${said(undefinedAgain)}`)
      await finish()
    },
  }
}

function said({ status, stderr }) {
  return status === 0 ? '' : `: ${stderr.split('\n', 1)[0]}`
}
