/**
 * Serving a device to other processes over vfio-user: QEMU's `vfio-user-pci` and other clients attach to its socket.
 *
 * The client's memory becomes the device's: a model does its DMA by the same calls as behind any other IOMMU. Where memory comes
 * without a descriptor only the promise forms reach it.
 */
import type { VfioDeviceOps } from '../device/ops.ts'
import { VfioDevice } from '../device/vfio-device.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { flag, text, u32 } from '../shape.ts'
import { DeviceServer, type ServeOptions } from './device-server.ts'

/** A device that is registered with VFIO, such as a mediated device or a function bound to `vfio-pci`. */
export interface RegisteredDevice {
  /** @internal */
  readonly vfio: VfioDevice | undefined
}

/** A model that can be made into a VFIO device, such as a `PciModel`. */
export interface ServableModel {
  /** Makes the callbacks; `name` is the device's. */
  vfioDevice(name: string): VfioDeviceOps
}

/** What can be served. */
export type Servable = RegisteredDevice | ServableModel | VfioDeviceOps

/**
 * Serves a device at a socket until the server is closed.
 *
 * @throws {TypeError} a value of the wrong shape
 * @throws {VfioError} ENODEV the device is bound to no VFIO driver; ENAMETOOLONG, EEXIST something else is at the path, EADDRINUSE a server
 *   listens there, ENOENT no such directory, EACCES; EINVAL an option out of its range
 */
export async function serve(device: Servable, options: ServeOptions): Promise<DeviceServer> {
  if (typeof options !== 'object' || options === null) throw invalidArgType('options', 'an object', options)
  const { keepState, uid, patience, answerWithin, maxTransfer, maxMappings } = options
  const { vfio, made } = vfioDeviceOf(device)
  const settings = {
    path: text(options.path, 'path'),
    keepState: flag(keepState, 'keepState', false),
    ...(uid === undefined ? {} : { uid: u32(uid, 'uid') }),
    ...(patience === undefined ? {} : { patience: u32(patience, 'patience') }),
    ...(answerWithin === undefined ? {} : { answerWithin: u32(answerWithin, 'answerWithin') }),
    ...(maxTransfer === undefined ? {} : { maxTransfer: u32(maxTransfer, 'maxTransfer') }),
    ...(maxMappings === undefined ? {} : { maxMappings: u32(maxMappings, 'maxMappings') }),
  }
  try {
    return new DeviceServer(vfio, settings, made ? () => letGo(vfio) : undefined)
  } catch (error) {
    if (made) letGo(vfio)
    throw error
  }
}

/** The device behind what was passed, and whether it was made for this server. */
function vfioDeviceOf(device: Servable): { vfio: VfioDevice; made: boolean } {
  if (typeof device !== 'object' || device === null)
    throw invalidArgType('device', 'a device or a device model', device)
  if ('vfio' in device) {
    if (device.vfio !== undefined) return { vfio: device.vfio, made: false }
    throw new VfioError('ENODEV', 'serve', {
      reason: 'the device is bound to no VFIO driver',
      remedy: 'bind it to one first, such as vfio-pci',
    })
  }
  const ops = 'vfioDevice' in device ? device.vfioDevice('served') : device
  if (typeof ops.getInfo !== 'function') throw invalidArgType('device', 'a device or a device model', device)
  const vfio = new VfioDevice('served', ops)
  vfio.enter(0)
  return { vfio, made: true }
}

function letGo(device: VfioDevice): void {
  device.leave(() => device.put())
}
