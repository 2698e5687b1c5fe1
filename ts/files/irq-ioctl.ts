/** Requests of a device file that take eventfds: `VFIO_DEVICE_SET_IRQS` and `VFIO_DEVICE_IOEVENTFD`. */
import type { DeviceSession } from '../device/device-session.ts'
import type { IoctlArgument, IrqEventFds } from '../device/ops.ts'
import { endOf, readStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import { VFIO_DEVICE_IOEVENTFD_SIZE_MASK } from '../uapi/constants.ts'
import { vfioDeviceIoeventfd, vfioIrqSet } from '../uapi/structs.ts'
import { eventOf } from './eventfd-lookup.ts'
import type { Caller } from './open-file.ts'

/** Most bytes that the kernel copies in at once. */
const MAX_PAYLOAD = 4 << 20

/**
 * `VFIO_DEVICE_SET_IRQS`. The request is copied in when the driver looks at it: one without interrupts never does.
 * @throws {VfioError} EFAULT, and what the driver says of header, payload and events
 */
export function setIrqs(session: DeviceSession, caller: Caller, argument: IoctlArgument): number {
  let copied: ReturnType<typeof vfioIrqSet.decode> | undefined
  const header = () => (copied ??= vfioIrqSet.decode(argument.read(vfioIrqSet.size)))
  session.setIrqs({
    get argsz() {
      return header().argsz
    },
    get flags() {
      return header().flags
    },
    get index() {
      return header().index
    },
    get start() {
      return header().start
    },
    get count() {
      return header().count
    },
    bools: () => payload(argument, header().argsz, header().count),
    eventfds: () => eventsAt(caller, payload(argument, header().argsz, header().count * 4)),
  })
  return 0
}

/** Copies the payload in. @throws {VfioError} EINVAL `argsz`, ENOMEM more than a kernel allocates, EFAULT */
function payload(argument: IoctlArgument, argsz: number, length: number): Uint8Array {
  if (argsz - vfioIrqSet.size < length) {
    throw new VfioError('EINVAL', 'VFIO_DEVICE_SET_IRQS', {
      reason: `the payload has ${length} bytes, argsz is ${argsz}`,
    })
  }
  if (length > MAX_PAYLOAD) throw new VfioError('ENOMEM', 'VFIO_DEVICE_SET_IRQS')
  return argument.read(length, vfioIrqSet.size)
}

/** `VFIO_DEVICE_IOEVENTFD`. @throws {VfioError} EFAULT, EINVAL, ENOTTY, and what the driver refuses with */
export function ioeventfd(session: DeviceSession, caller: Caller, argument: IoctlArgument): number {
  const operation = 'VFIO_DEVICE_IOEVENTFD'
  if (session.ops(operation).ioeventfd === undefined) throw new VfioError('ENOTTY', operation)
  const asked = readStruct(argument, vfioDeviceIoeventfd, endOf(vfioDeviceIoeventfd, 'fd'), operation)
  const { flags, fd, offset, data } = asked
  const width = flags & VFIO_DEVICE_IOEVENTFD_SIZE_MASK
  if (flags !== width || !isWidth(width) || fd < -1) {
    throw new VfioError('EINVAL', operation, { reason: 'exactly one width is asked for, and a descriptor or -1' })
  }
  session.ioeventfd(width, offset, data, fd < 0 ? undefined : () => eventOf(caller, fd, operation))
  return 0
}

function isWidth(width: number): width is 1 | 2 | 4 | 8 {
  return width === 1 || width === 2 || width === 4 || width === 8
}

function eventsAt(caller: Caller, bytes: Uint8Array): IrqEventFds {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fd = (i: number): number => view.getInt32(i * 4, true)
  return { length: bytes.byteLength / 4, fd, get: (i) => eventOf(caller, fd(i), 'VFIO_DEVICE_SET_IRQS') }
}
