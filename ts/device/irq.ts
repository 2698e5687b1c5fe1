/** An interrupt index of a device: INTx, MSI, MSI-X, error, request, or what its bus has. */
import { invalidArgType } from '../errors.ts'
import { list, record, u32 } from '../shape.ts'
import {
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_IRQ_INFO_NORESIZE,
} from '../uapi/constants.ts'
import type { DeviceSession } from './device-session.ts'
import { EventFd } from './event-fd.ts'
import { irqRequest, type IrqAction, type IrqData } from './irq-request.ts'
import { IrqVectors, type IrqRelease } from './irq-vectors.ts'
import type { IrqInfo } from './ops.ts'

/** An interrupt index. Interrupts within it count from 0. */
export class Irq {
  readonly index: number
  readonly #session: DeviceSession
  readonly #enabled: Set<IrqVectors>

  /**
   * Made by `device.irq(index)`, which keeps what is enabled of the index in `enabled`. @throws {VfioError} EINVAL no such index
   * @internal
   */
  constructor(session: DeviceSession, index: number, enabled: Set<IrqVectors>) {
    this.#session = session
    this.#enabled = enabled
    this.index = index
    session.irqInfo(index)
  }

  /** What `VFIO_DEVICE_GET_IRQ_INFO` tells now. */
  get info(): IrqInfo {
    return this.#session.irqInfo(this.index)
  }

  /** How many interrupts the index has. */
  get count(): number {
    return this.info.count
  }

  /** Whether events can be told to it. */
  get eventfd(): boolean {
    return this.#has(VFIO_IRQ_INFO_EVENTFD)
  }

  /** Whether it can be masked. */
  get maskable(): boolean {
    return this.#has(VFIO_IRQ_INFO_MASKABLE)
  }

  /** Whether it masks itself each time it fires, so that it must be unmasked. */
  get automasked(): boolean {
    return this.#has(VFIO_IRQ_INFO_AUTOMASKED)
  }

  /** Whether the number of enabled ones cannot grow without disabling all first. */
  get noresize(): boolean {
    return this.#has(VFIO_IRQ_INFO_NORESIZE)
  }

  /**
   * Enables interrupts: `count` of them, each with an event of its own, or one per event given (null: leave it out).
   * @throws {VfioError} EINVAL, ENOTTY, EBUSY, EMFILE
   */
  enable(events: number | readonly (EventFd | null)[] = 1, options: { start?: number } = {}): IrqVectors {
    const { start, owned, list } = this.#prepare(events, options)
    try {
      this.set('trigger', start, { events: list })
    } catch (error) {
      if (owned) for (const event of list) event?.close()
      throw error
    }
    return this.#enable(start, list, owned)
  }

  /** As {@link enable}, without holding this thread up where the device is in another process. */
  async enableAsync(
    events: number | readonly (EventFd | null)[] = 1,
    options: { start?: number } = {},
  ): Promise<IrqVectors> {
    const { start, owned, list } = this.#prepare(events, options)
    try {
      await this.setAsync('trigger', start, { events: list })
    } catch (error) {
      if (owned) for (const event of list) event?.close()
      throw error
    }
    return this.#enable(start, list, owned)
  }

  /** Disables all interrupts of the index. @throws {VfioError} EINVAL, ENOTTY */
  disable(): void {
    this.set('trigger', 0, { count: 0 })
  }

  /** Fires interrupts as if the device had (loopback), for testing. @throws {VfioError} EINVAL, ENOTTY */
  trigger(start = 0, count = 1): void {
    this.set('trigger', start, { count })
  }

  /** Fires those that are true. @throws {VfioError} EINVAL, ENOTTY */
  triggerIf(bools: readonly boolean[], start = 0): void {
    this.set('trigger', start, { bools })
  }

  /** Masks interrupts. @throws {VfioError} EINVAL, ENOTTY */
  mask(start = 0, count = 1): void {
    this.set('mask', start, { count })
  }

  /** Masks those that are true. @throws {VfioError} EINVAL, ENOTTY */
  maskIf(bools: readonly boolean[], start = 0): void {
    this.set('mask', start, { bools })
  }

  /** Has each event, when signalled, mask its interrupt; null ends it. @throws {VfioError} EINVAL, ENOTTY */
  maskOn(events: readonly (EventFd | null)[], start = 0): void {
    this.set('mask', start, { events: checkEvents(events) })
  }

  /** Unmasks interrupts; one that is still asserted fires again. @throws {VfioError} EINVAL, ENOTTY */
  unmask(start = 0, count = 1): void {
    this.set('unmask', start, { count })
  }

  /** Unmasks those that are true. @throws {VfioError} EINVAL, ENOTTY */
  unmaskIf(bools: readonly boolean[], start = 0): void {
    this.set('unmask', start, { bools })
  }

  /** Has each event, when signalled, unmask its interrupt; null ends it. @throws {VfioError} EINVAL, ENOTTY */
  unmaskOn(events: readonly (EventFd | null)[], start = 0): void {
    this.set('unmask', start, { events: checkEvents(events) })
  }

  /** `VFIO_DEVICE_SET_IRQS` in any of its forms. @throws {VfioError} EINVAL, ENOTTY */
  set(action: IrqAction, start: number, data: IrqData): void {
    const first = checkSet(start, data)
    this.#session.setIrqs(irqRequest(this.index, action, first, data))
  }

  /** As {@link set}, without holding this thread up where the device is in another process. */
  async setAsync(action: IrqAction, start: number, data: IrqData): Promise<void> {
    const first = checkSet(start, data)
    return this.#session.setIrqsAsync(irqRequest(this.index, action, first, data))
  }

  #prepare(events: number | readonly (EventFd | null)[], options: { start?: number }) {
    const start = u32(record(options, 'options').start ?? 0, 'start')
    const owned = typeof events === 'number'
    return { start, owned, list: owned ? this.#makeEvents(u32(events, 'events')) : checkEvents(events) }
  }

  #enable(start: number, list: readonly (EventFd | null)[], owned: boolean): IrqVectors {
    const vectors: IrqVectors = new IrqVectors(start, list, owned, () => {
      this.#enabled.delete(vectors)
      return this.#session.closed || list.length === 0 ? undefined : this.#release(start, list.length)
    })
    this.#enabled.add(vectors)
    return vectors
  }

  /** Gives up the events of some interrupts, and the whole index with the last of them. */
  #release(start: number, count: number): IrqRelease {
    const [first, data]: [number, IrqData] =
      this.#enabled.size === 0 ? [0, { count: 0 }] : [start, { events: Array.from({ length: count }, () => null) }]
    return { now: () => this.set('trigger', first, data), later: () => this.setAsync('trigger', first, data) }
  }

  /** Makes events: at most one more than the index has interrupts, which is enough to be refused. */
  #makeEvents(count: number): (EventFd | null)[] {
    const present = this.count
    const events: (EventFd | null)[] = []
    try {
      while (events.length < Math.min(count, present)) events.push(EventFd.create())
    } catch (error) {
      for (const event of events) event?.close()
      throw error
    }
    if (count > present) events.push(null)
    return events
  }

  #has(flag: number): boolean {
    return (this.info.flags & flag) !== 0
  }
}

function checkSet(start: number, data: IrqData): number {
  record(data, 'data')
  if ('count' in data) u32(data.count, 'count')
  else if ('bools' in data) list(data.bools, 'bools')
  else checkEvents(data.events)
  return u32(start, 'start')
}

function checkEvents(events: readonly (EventFd | null)[]): readonly (EventFd | null)[] {
  if (!Array.isArray(events)) throw invalidArgType('events', 'a number or an array of EventFd', events)
  for (const event of events)
    if (event !== null && !(event instanceof EventFd)) throw invalidArgType('events', 'EventFd or null', event)
  return [...events]
}
