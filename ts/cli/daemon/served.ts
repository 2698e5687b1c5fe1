/** Serving a device of a host over vfio-user, with a log of who comes and goes. */
import {
  type RegisteredDevice,
  serve,
  type DeviceServer,
  type ServeOptions,
  type SoftwareHost,
  VfioError,
} from '../../index.ts'

/** Hears what happens to a served device. */
export type ServeLog = (event: string, details: Record<string, unknown>) => void

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Whether a name is a UUID. */
export function isUuid(name: string): boolean {
  return UUID.test(name)
}

/** A device of the host by UUID or PCI address. @throws {VfioError} ENODEV there is none */
export function deviceOf(host: SoftwareHost, name: string): RegisteredDevice {
  const device = isUuid(name) ? host.mdev.get(name) : /^[0-9a-f:.]+$/i.test(name) ? host.pci.device(name) : undefined
  if (device !== undefined) return device
  const names = [...host.mdev.devices.map(({ uuid }) => uuid), ...host.pci.devices.map(({ name }) => name)]
  throw new VfioError('ENODEV', 'serve', {
    reason: `the host has no device ${name}`,
    remedy: isUuid(name)
      ? 'start it: vfio start --uuid UUID --parent PARENT --type TYPE'
      : `it has ${names.join(', ')}`,
  })
}

/** Serves a device and tells the log: listening, attached, detached, refused. */
export async function serveLogged(
  device: RegisteredDevice,
  name: string,
  options: ServeOptions,
  log: ServeLog,
): Promise<DeviceServer> {
  const server = await serve(device, options)
  log('listening', { device: name, path: options.path })
  server.on('attach', ({ pid, uid, minor }) => log('attached', { pid, uid, version: `0.${minor}` }))
  server.on('detach', (reason) => log('detached', { reason }))
  server.on('refuse', (reason) => log('refused', { reason }))
  return server
}
