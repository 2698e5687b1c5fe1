/** Interrupt requests of a client, with the events that it sends. */
import { EventSink } from '../device/event-sink.ts'
import type { IrqEventFds, IrqSetRequest } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { NativeServedRequest, NativeServer } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import {
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
} from '../uapi/constants.ts'
import { vfioIrqSet } from '../uapi/structs.ts'

const NAME = 'VFIO_DEVICE_SET_IRQS'

/** Keeps the events that a device may signal: one for each interrupt and purpose, the last that was sent. */
export class ServedIrqs {
  readonly #server: NativeServer
  readonly #sinks = new Map<string, EventSink>()

  constructor(server: NativeServer) {
    this.#server = server
  }

  /** Has `set` carry a request out, and lets go of the events that it replaces. @throws what `set` throws */
  run(request: NativeServedRequest, set: (request: IrqSetRequest) => void): void {
    const { index, flags, start, token, events } = request
    const action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK
    const looked: [string, EventSink][] = []
    const take = (i: number): EventSink => {
      const entry = events?.[i] ?? -1
      if (entry <= 0) throw VfioError.fromStatus(entry + 1, NAME)
      const sink = new EventSink(syscall(NAME, () => this.#server.takeEvent(token, i)))
      looked.push([`${index} ${action} ${start + i}`, sink])
      return sink
    }
    try {
      set(requestOf(request, take))
      this.#forget(request, action)
    } finally {
      // Also of a request that was refused: what was looked at may be in use.
      for (const [key, sink] of looked) this.#keep(key, sink)
    }
  }

  /** Closes all. */
  close(): void {
    for (const sink of this.#sinks.values()) sink.close()
    this.#sinks.clear()
  }

  #keep(key: string, sink: EventSink): void {
    this.#sinks.get(key)?.close()
    this.#sinks.set(key, sink)
  }

  /** Lets go of the events that a request took away. */
  #forget({ index, flags, start, length, events }: NativeServedRequest, action: number): void {
    const drop = (key: string): void => {
      this.#sinks.get(key)?.close()
      this.#sinks.delete(key)
    }
    events?.forEach((entry, i) => {
      if (entry === -1) drop(`${index} ${action} ${start + i}`)
    })
    const none = (flags & VFIO_IRQ_SET_DATA_TYPE_MASK) === VFIO_IRQ_SET_DATA_NONE
    if (none && action === VFIO_IRQ_SET_ACTION_TRIGGER && length === 0n) {
      for (const key of [...this.#sinks.keys()].filter((key) => key.startsWith(`${index} `))) drop(key)
    }
  }
}

function requestOf(
  { flags, index, start, length, data, events }: NativeServedRequest,
  take: (i: number) => EventSink,
): IrqSetRequest {
  const bools = data ?? new Uint8Array()
  const entries = events ?? []
  const eventfds: IrqEventFds = {
    length: entries.length,
    fd: (i) => (entries[i] === -1 ? -1 : i),
    get: take,
  }
  return {
    argsz: vfioIrqSet.size + (events === undefined ? bools.byteLength : entries.length * 4),
    flags,
    index,
    start,
    count: Number(length),
    bools: () => bools,
    eventfds: () => eventfds,
  }
}
