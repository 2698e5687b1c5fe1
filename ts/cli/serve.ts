/** `vfio serve`: a device of ours for QEMU and other vfio-user clients. */
import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import {
  type DeviceServer,
  E1000e,
  Edu,
  mbochs,
  mdpy,
  mtty,
  Nvme,
  type RegisteredDevice,
  SoftwareHost,
  Testdev,
  VfioError,
} from '../index.ts'
import { type Command, EXIT, UsageError } from './command.ts'
import { HostClient, NoHostError } from './daemon/client.ts'
import type { ServeRequest } from './daemon/protocol.ts'
import { isUuid, serveLogged } from './daemon/served.ts'
import { socketPath } from './daemon/socket-path.ts'
import { event } from './output.ts'

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
const FUNCTIONS = { edu: Edu, nvme: Nvme, e1000e: E1000e, testdev: Testdev }

export const serve: Command = {
  name: 'serve',
  summary: 'serves a device over vfio-user, for QEMU and others',
  operands: 'TYPE-OR-DEVICE',
  description: [
    'TYPE makes a device that lives as long as the command: mtty-1, mtty-2 (serial cards), edu (DMA test device), nvme (NVMe controller), e1000e, testdev, mdpy-vga, -xga, -hd and mbochs-small, -medium, -large (displays).',
    'DEVICE is one of the host that runs (vfio host): the UUID of a mediated device, or the address of a PCI function. Where no host has the UUID, an mtty-2 card with it is made.',
    `QEMU attaches with -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}', and with the guest's memory shared: -object memory-backend-memfd,id=mem,size=SIZE,share=on -machine memory-backend=mem.`,
  ],
  options: [
    { name: 'socket', value: 'PATH', summary: 'where clients attach' },
    { name: 'keep-state', summary: 'does not reset the device when a client goes' },
    { name: 'uid', value: 'N', summary: 'refuses clients of other users' },
    {
      name: 'host',
      value: 'SOCKET',
      summary: 'the host that has the device; default: VFIO_HOST, or the one of `vfio host`',
    },
  ],
  async run(call) {
    const [device] = call.operands
    if (device === undefined) throw new UsageError('which device?')
    const uid = call.count('uid')
    const request = {
      device: isUuid(device) ? device.toLowerCase() : device,
      path: resolve(call.need('socket')),
      keepState: call.flag('keep-state'),
      ...(uid === undefined ? {} : { uid }),
    }
    const client = await hostWith(request.device, call.text('host'))
    if (client !== undefined) return serveThere(client, request, call.json)
    return serveHere(request, call.json)
  },
}

/** Serves a device of the host that runs, until interrupted or until the host goes. */
async function serveThere(client: HostClient, request: ServeRequest, json: boolean): Promise<number> {
  using _closing = client
  await client.call('serve', request, (name, details) => event(json, name, details))
  const gone = await Promise.race([interrupted().then(() => false), client.ended().then(() => true)])
  if (gone) throw new NoHostError(`the host at ${client.place} has gone`)
  event(json, 'stopped')
  return EXIT.done
}

/** Serves a device made for it. */
async function serveHere(request: ServeRequest, json: boolean): Promise<number> {
  using host = new SoftwareHost()
  const { device, ...options } = request
  const server: DeviceServer = await serveLogged(made(host, device), device, options, (name, details) =>
    event(json, name, details),
  )
  await interrupted()
  await server.close()
  event(json, 'stopped')
  return EXIT.done
}

/** The host that runs, if it has the device; one that was asked for by name must run. */
async function hostWith(device: string, named: string | undefined): Promise<HostClient | undefined> {
  const explicit = named !== undefined
  if (!explicit && !isUuid(device) && !device.includes(':')) return undefined
  let client: HostClient
  try {
    client = await HostClient.connect(socketPath(named))
  } catch (error) {
    if (explicit || !isUuid(device)) throw error
    return undefined
  }
  if (explicit || !isUuid(device)) return client
  const devices = await client.list('/sys/bus/mdev/devices')
  if (devices.includes(device)) return client
  client.close()
  return undefined
}

/** Makes the device that a name stands for. @throws {VfioError} ENODEV it stands for none */
function made(host: SoftwareHost, name: string): RegisteredDevice {
  const card = isUuid(name) ? { type: DEFAULT_CARD, uuid: name } : { type: name, uuid: randomUUID() }
  const driver = Object.hasOwn(MDEV_TYPES, card.type) ? MDEV_TYPES[card.type] : undefined
  if (driver !== undefined) {
    host.mdev.registerParent(driver, DRIVERS[driver]({ repaired: true }))
    return host.mdev.create(card.type, card.uuid)
  }
  if (Object.hasOwn(FUNCTIONS, name)) {
    const Model = FUNCTIONS[name as keyof typeof FUNCTIONS]
    return host.pci.add(FUNCTION, new Model(), { driver: 'vfio-pci' })
  }
  throw new VfioError('ENODEV', 'serve', {
    reason: `there is no type ${name}`,
    remedy: `there are ${[...Object.keys(MDEV_TYPES), ...Object.keys(FUNCTIONS)].join(', ')}`,
  })
}

/** Settles when the program is asked to end. */
function interrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
}
