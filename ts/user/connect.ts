/**
 * Connecting to a device that another process serves over vfio-user: one of this package, or of any other implementation.
 *
 * The device has the face of any other device. Its memory is what it is lent by `mapDma()`.
 */
import type { VfioErrorDetails } from '../errors.ts'
import { addon } from '../native/load.ts'
import { later } from '../native/syscall.ts'
import { record, text, u32 } from '../shape.ts'
import type { ErrnoName } from '../uapi/errno.ts'
import { RemoteDevice } from './remote-device.ts'

/** How a server is dealt with. */
export interface ConnectOptions {
  /** Milliseconds that the server may take over a reply; default 5000. */
  patience?: number
}

const PATIENCE = 5000

/**
 * Connects to the server that listens at `path` and opens its device.
 *
 * @throws {TypeError} a value of the wrong shape
 * @throws {VfioError} by rejection: ENAMETOOLONG; ENOENT nothing is at the path, ECONNREFUSED nobody listens there, EACCES;
 *   ETIMEDOUT the server does not answer, as one does that has a client already; ENOTCONN it does not want us; EPROTO it does not
 *   speak vfio-user; EPROTONOSUPPORT not version 0.1 or 0.0
 */
export async function connect(path: string, options: ConnectOptions = {}): Promise<RemoteDevice> {
  const socket = text(path, 'path')
  const patience = u32(record(options, 'options').patience ?? PATIENCE, 'options.patience')
  const native = await later(
    'connect',
    () => addon().connectDevice(socket, patience),
    (code) => details(code, socket),
  )
  return new RemoteDevice(socket, native)
}

function details(code: ErrnoName, path: string): VfioErrorDetails {
  const remedy = REMEDIES[code]
  return remedy === undefined ? { path } : { path, remedy }
}

const REMEDIES: Readonly<Partial<Record<ErrnoName, string>>> = {
  ENOENT: 'start the server first',
  ECONNREFUSED: 'the server that made the socket has gone: start it again',
  ETIMEDOUT: 'a server takes one client at a time: close the other one first',
  ENOTCONN: 'its log says why it refuses us',
}
