/** Events of interrupt requests, as native devices take them. */
import { isErrno, VfioError } from '../errors.ts'
import type { NativeEventFd, NativeIrqFd, NativeIrqSet } from '../native/addon.ts'
import { checkIrqSet } from './irq-set.ts'
import type { EventTarget64, IrqEventFds, IrqSetRequest } from './ops.ts'

/** Checks a request against `irqs` interrupts of its index, and makes the native one of it. @throws {VfioError} as {@link checkIrqSet} */
export function nativeIrqSet(request: IrqSetRequest, irqs: number, indexes: number): NativeIrqSet {
  const { argsz, flags, index, start, count } = request
  const payload = checkIrqSet(request, irqs, indexes)
  const header = { argsz, flags, index, start, count }
  const bools = payload.bools.length > 0 ? { bools: payload.bools } : {}
  const eventfds = payload.eventfds === undefined ? {} : { eventfds: nativeEvents(payload.eventfds) }
  return { ...header, ...bools, ...eventfds }
}

/** Looks the entries up; one that fails says so where the driver reaches it. */
function nativeEvents(events: IrqEventFds): NativeIrqFd[] {
  return Array.from({ length: events.length }, (_, i) => {
    const fd = events.fd(i)
    if (fd === -1) return null
    if (fd < 0) return fd
    return lookedUp(() => events.get(i))
  })
}

/** An event, or the errno with which looking it up fails. */
export function lookedUp(lookup: () => EventTarget64): NativeIrqFd {
  try {
    return nativeEvent(lookup())
  } catch (error) {
    if (isErrno(error)) return { errno: error.code }
    throw error
  }
}

/** The native counter behind an event. @throws {VfioError} EINVAL there is none */
export function nativeEvent(event: EventTarget64): NativeEventFd {
  if (event.native === undefined) {
    throw new VfioError('EINVAL', 'VFIO_DEVICE_SET_IRQS', { reason: 'a native device needs native events' })
  }
  return event.native
}
