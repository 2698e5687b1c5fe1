/** Sleep of a device that its user asks for (`VFIO_DEVICE_FEATURE_LOW_POWER_*`). */
import { invalidArgType, VfioError } from '../errors.ts'
import { record } from '../shape.ts'
import {
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
} from '../uapi/constants.ts'
import { vfioDeviceFeature, vfioDeviceLowPowerEntryWithWakeup } from '../uapi/structs.ts'
import { bytesArgument } from './bytes-argument.ts'
import type { DeviceSession } from './device-session.ts'
import { EventFd } from './event-fd.ts'
import { callerWithoutMemory } from './feature.ts'

/** Number by which the one event is passed. */
const EVENT = 0

/** Low power of one open device. Got from `device.lowPower`. */
export class DeviceLowPower {
  readonly #session: DeviceSession

  /**
   * Made by the device.
   * @internal
   */
  constructor(session: DeviceSession) {
    this.#session = session
  }

  /**
   * Lets the device sleep from now on, while nobody uses it: every access wakes it, and it sleeps again afterwards. With `wake` it
   * stays awake once it was woken, and signals that.
   * @throws {VfioError} ENOTTY the device does not sleep, EINVAL it was asked to already, EBADF closed
   */
  enter(options: { wake?: EventFd } = {}): void {
    const { wake } = record(options, 'options')
    if (wake === undefined) return this.#set(VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY)
    if (!(wake instanceof EventFd)) throw invalidArgType('options.wake', 'an EventFd', wake)
    const payload = vfioDeviceLowPowerEntryWithWakeup.bytes({ wakeupEventfd: EVENT })
    this.#set(VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, payload, wake)
  }

  /** Keeps the device awake. @throws {VfioError} ENOTTY the device does not sleep, EBADF closed */
  exit(): void {
    this.#set(VFIO_DEVICE_FEATURE_LOW_POWER_EXIT)
  }

  #set(feature: number, payload: Uint8Array = new Uint8Array(0), event?: EventFd): void {
    const bytes = new Uint8Array(vfioDeviceFeature.size + payload.byteLength)
    vfioDeviceFeature.encode({ argsz: bytes.byteLength, flags: VFIO_DEVICE_FEATURE_SET | feature }, bytes)
    bytes.set(payload, vfioDeviceFeature.size)
    this.#session.feature(bytesArgument(bytes), {
      ...callerWithoutMemory,
      event: () => {
        if (event === undefined) throw new VfioError('EBADF', 'VFIO_DEVICE_FEATURE')
        return event.sink
      },
    })
  }
}
