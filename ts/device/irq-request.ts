/** Typed forms of `VFIO_DEVICE_SET_IRQS`. */
import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
} from '../uapi/constants.ts'
import { vfioIrqSet } from '../uapi/structs.ts'
import type { EventFd } from './event-fd.ts'
import type { IrqEventFds, IrqSetRequest } from './ops.ts'

/** What is done to interrupts. */
export type IrqAction = 'trigger' | 'mask' | 'unmask'

/** To which interrupts of an index: a range, those that are true, or each by its event (null: none any more). */
export type IrqData = { count: number } | { bools: readonly boolean[] } | { events: readonly (EventFd | null)[] }

const ACTIONS: Readonly<Record<IrqAction, number>> = {
  trigger: VFIO_IRQ_SET_ACTION_TRIGGER,
  mask: VFIO_IRQ_SET_ACTION_MASK,
  unmask: VFIO_IRQ_SET_ACTION_UNMASK,
}

/** Makes the request that the drivers take. */
export function irqRequest(index: number, action: IrqAction, start: number, data: IrqData): IrqSetRequest {
  const made = payloadOf(data)
  return {
    argsz: vfioIrqSet.size + made.size,
    flags: ACTIONS[action] | made.flag,
    index,
    start,
    count: made.count,
    bools: () => made.bools,
    eventfds: () => made.events,
  }
}

function payloadOf(data: IrqData): {
  flag: number
  count: number
  size: number
  bools: Uint8Array
  events: IrqEventFds
} {
  if ('bools' in data) {
    const bools = Uint8Array.from(data.bools, (bool) => (bool ? 1 : 0))
    return { flag: VFIO_IRQ_SET_DATA_BOOL, count: bools.length, size: bools.length, bools, events: eventsOf([]) }
  }
  if ('events' in data) {
    const { length } = data.events
    const events = eventsOf(data.events)
    return { flag: VFIO_IRQ_SET_DATA_EVENTFD, count: length, size: length * 4, bools: new Uint8Array(), events }
  }
  return { flag: VFIO_IRQ_SET_DATA_NONE, count: data.count, size: 0, bools: new Uint8Array(), events: eventsOf([]) }
}

/** Events as drivers take them; what counts of `fd` is whether it is -1, since not every system has descriptors. */
function eventsOf(events: readonly (EventFd | null)[]): IrqEventFds {
  return {
    length: events.length,
    fd: (i) => (events[i] == null ? -1 : i),
    get: (i) => {
      const event = events[i]
      if (event == null) throw new RangeError(`entry ${i} has no event`)
      return event.sink
    },
  }
}
