/** `vfio serve`: a device of ours for QEMU and other vfio-user clients. */
import { randomUUID } from 'node:crypto'
import { parseArgs } from 'node:util'
import {
  Edu,
  mbochs,
  mdpy,
  mtty,
  Nvme,
  serve,
  SoftwareHost,
  type DeviceServer,
  type RegisteredDevice,
} from '../index.ts'

const USAGE_ERROR = 2
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const FUNCTION = '0000:00:02.0'
const DEFAULT_CARD = 'mtty-2'
/** Drivers of mediated devices by the types that they offer; the samples' faults would stop guests. */
const DRIVERS = { mtty, mdpy, mbochs }
const MDEV_TYPES: Readonly<Record<string, keyof typeof DRIVERS>> = {
  'mtty-1': 'mtty',
  'mtty-2': 'mtty',
  'mdpy-vga': 'mdpy',
  'mdpy-xga': 'mdpy',
  'mdpy-hd': 'mdpy',
  'mbochs-small': 'mbochs',
  'mbochs-medium': 'mbochs',
  'mbochs-large': 'mbochs',
}

/** Serves a device until it is told to stop (SIGINT, SIGTERM). */
export async function serveCommand(args: readonly string[]): Promise<number> {
  const options = parse(args)
  if (typeof options === 'string') {
    console.error(`${options}\nusage: vfio serve TYPE-OR-UUID --socket PATH [--keep-state] [--uid N] [--json]`)
    return USAGE_ERROR
  }
  using host = new SoftwareHost()
  const device = makeDevice(host, options.device)
  if (device === undefined) {
    console.error(`unknown type ${options.device}; there are ${Object.keys(MDEV_TYPES).join(', ')}, edu and nvme`)
    return USAGE_ERROR
  }
  const { path, keepState, uid } = options
  const server = await serve(device, { path, keepState, ...(uid === undefined ? {} : { uid }) })
  const log = options.json ? logJson : logText
  log('listening', { device: options.device, path })
  server.on('attach', ({ pid, uid: user, minor }) => log('attached', { pid, uid: user, version: `0.${minor}` }))
  server.on('detach', (reason) => log('detached', { reason }))
  server.on('refuse', (reason) => log('refused', { reason }))
  await stopped(server)
  log('stopped', {})
  return 0
}

interface ServeArguments {
  device: string
  path: string
  keepState: boolean
  uid: number | undefined
  json: boolean
}

function parse(args: readonly string[]): ServeArguments | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        socket: { type: 'string' },
        'keep-state': { type: 'boolean' },
        uid: { type: 'string' },
        json: { type: 'boolean' },
      },
    })
    const [device, ...more] = positionals
    if (device === undefined || more.length > 0) return 'one device, please'
    if (values.socket === undefined) return 'the socket is missing'
    const uid = values.uid === undefined ? undefined : Number(values.uid)
    if (uid !== undefined && !Number.isSafeInteger(uid)) return `${values.uid} is no user id`
    return {
      device,
      path: values.socket,
      keepState: values['keep-state'] ?? false,
      uid,
      json: values.json ?? false,
    }
  } catch (error) {
    return (error as Error).message
  }
}

/** Makes the device that a name stands for. */
function makeDevice(host: SoftwareHost, name: string): RegisteredDevice | undefined {
  const card = UUID.test(name) ? { type: DEFAULT_CARD, uuid: name.toLowerCase() } : { type: name, uuid: randomUUID() }
  const driver = Object.hasOwn(MDEV_TYPES, card.type) ? MDEV_TYPES[card.type] : undefined
  if (driver !== undefined) {
    host.mdev.registerParent(driver, DRIVERS[driver]({ repaired: true }))
    return host.mdev.create(card.type, card.uuid)
  }
  if (name === 'edu') return host.pci.add(FUNCTION, new Edu(), { driver: 'vfio-pci' })
  if (name === 'nvme') return host.pci.add(FUNCTION, new Nvme(), { driver: 'vfio-pci' })

  return undefined
}

/** Waits until the program is asked to end and the server has stopped. */
function stopped(server: DeviceServer): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => void server.close().then(resolve, reject)
    process.once('SIGINT', stop)
    process.once('SIGTERM', stop)
  })
}

function logText(event: string, details: Record<string, unknown>): void {
  const text = Object.entries(details).map(([key, value]) => `${key} ${String(value)}`)
  console.log(`${new Date().toISOString()} ${event}${text.length > 0 ? `: ${text.join(', ')}` : ''}`)
}

function logJson(event: string, details: Record<string, unknown>): void {
  console.log(JSON.stringify({ time: new Date().toISOString(), event, ...details }))
}
