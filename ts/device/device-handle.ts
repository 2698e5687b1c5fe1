/** The typed handle of an open device. */
import { EventEmitter } from 'node:events'
import { isErrno } from '../errors.ts'
import { list, record, u32, u64, type U64 } from '../shape.ts'
import { DeviceDmaLogging, DeviceFeatures } from './device-features.ts'
import type { DeviceSession } from './device-session.ts'
import type { EventFd } from './event-fd.ts'
import type { HotResetDevice } from './hot-reset.ts'
import { Irq } from './irq.ts'
import type { IrqVectors } from './irq-vectors.ts'
import { DeviceLowPower } from './low-power.ts'
import { Migration } from './migration-handle.ts'
import type { DeviceInfo } from './ops.ts'
import { Region } from './region.ts'

/** Regions or interrupt indexes that are listed: what says that it has more is no device. */
const MOST_INDEXES = 4096

/** Events of a device. */
export interface DeviceEvents {
  /** The device is going away: close it, please. Comes again, with a higher count, while it stays open. */
  request: [count: number]
  /** The other end of a device in another process has gone, for this reason: its calls fail with ENOTCONN. */
  disconnect: [reason: string]
  /** The device was closed. */
  close: []
}

/** A group whose devices a hot reset may reset. */
export interface HeldGroup {
  readonly number: number
}

/** An open device. Got from `group.getDevice(name)`; closing it is closing its descriptor. */
export class Device extends EventEmitter<DeviceEvents> {
  /**
   * The session behind it, shared with nobody.
   * @internal
   */
  readonly session: DeviceSession
  /** Features that the device may have. */
  readonly features: DeviceFeatures
  /** The device's own log of the pages that it writes. */
  readonly dmaLogging: DeviceDmaLogging
  /** Sleep of the device while nobody uses it. */
  readonly lowPower: DeviceLowPower
  readonly #enabled = new Map<number, Set<IrqVectors>>()
  #asked = false

  /**
   * Made by `group.getDevice()`.
   * @internal
   */
  constructor(session: DeviceSession) {
    super()
    this.session = session
    this.features = new DeviceFeatures(session)
    this.dmaLogging = new DeviceDmaLogging(session)
    this.lowPower = new DeviceLowPower(session)
    session.onRequest = (count) => this.emit('request', count)
    session.onClose = () => {
      for (const vectors of [...this.#enabled.values()].flatMap((set) => [...set])) vectors.close()
      this.emit('close')
    }
  }

  /** Name, such as `'0000:06:0d.0'` or a UUID. */
  get name(): string {
    return this.session.device.name
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.session.closed
  }

  /** What the device is and has (`VFIO_DEVICE_GET_INFO`). @throws {VfioError} EBADF closed */
  info(): DeviceInfo {
    return this.session.info()
  }

  /** A region by index (`VFIO_DEVICE_GET_REGION_INFO`). @throws {VfioError} EINVAL no such region, EBADF closed */
  region(index: number): Region {
    return new Region(this.session, u32(index, 'index'))
  }

  /** All regions that there are, in order of their indexes. */
  regions(): Region[] {
    return this.#present(this.info().numRegions, (index) => this.region(index))
  }

  /**
   * An interrupt index (`VFIO_DEVICE_GET_IRQ_INFO`). The device is asked what it is before its first interrupt is, as some
   * drivers want it.
   * @throws {VfioError} EINVAL no such index, EBADF closed
   */
  irq(index: number): Irq {
    const at = u32(index, 'index')
    if (!this.#asked) this.info()
    this.#asked = true
    const enabled = this.#enabled.get(at) ?? new Set<IrqVectors>()
    const irq = new Irq(this.session, at, enabled)
    this.#enabled.set(at, enabled)
    return irq
  }

  /** All interrupt indexes that there are. */
  irqs(): Irq[] {
    return this.#present(this.info().numIrqs, (index) => this.irq(index))
  }

  /** Resets the device (`VFIO_DEVICE_RESET`). @throws {VfioError} EINVAL it cannot be reset alone, ENOTTY, EBADF */
  reset(): void {
    this.session.reset()
  }

  /** As {@link reset}, without holding this thread up where the device is in another process. */
  resetAsync(): Promise<void> {
    return this.session.resetAsync()
  }

  /** Lists what a reset of its slot or bus would reset. @throws {VfioError} ENODEV there is no such reset, ENOTTY, EBADF */
  hotResetInfo(): readonly HotResetDevice[] {
    return this.session.hotResetInfo()
  }

  /**
   * Resets its slot or bus (`VFIO_DEVICE_PCI_HOT_RESET`); `groups` are those of all devices there.
   * @throws {VfioError} EINVAL a device there is in no given group, ENODEV there is no such reset, ENOTTY, EBADF
   */
  hotReset(groups: readonly HeldGroup[]): void {
    this.session.hotReset(
      new Set(list(groups, 'groups').map((group) => u32(record(group, 'groups[]').number, 'number'))),
    )
  }

  /** Migration of the device: its state and data streams. @throws {VfioError} ENOTTY it does not migrate, EBADF closed */
  get migration(): Migration {
    return Migration.of(this.session)
  }

  /**
   * Has `event`, when signalled, write `data` to a region (`VFIO_DEVICE_IOEVENTFD`); null ends it.
   * @throws {VfioError} EINVAL, EEXIST, ENODEV, ENOSPC, ENOTTY, EBADF
   */
  ioeventfd(region: number, offset: U64, width: 1 | 2 | 4 | 8, data: U64, event: EventFd | null): void {
    const at = this.region(region).info.offset + u64(offset, 'offset')
    this.session.ioeventfd(
      width,
      BigInt.asUintN(64, at),
      u64(data, 'data'),
      event === null ? undefined : () => event.sink,
    )
  }

  /** Closes the device (idempotent). Its interrupts end; regions that are mapped stay mapped. */
  close(): void {
    this.session.close()
  }

  /** Same as {@link close}. */
  [Symbol.dispose](): void {
    this.close()
  }

  #present<T>(count: number, make: (index: number) => T): T[] {
    const present: T[] = []
    for (let index = 0; index < Math.min(count, MOST_INDEXES); index++) {
      try {
        present.push(make(index))
      } catch (error) {
        if (!isErrno(error, 'EINVAL')) throw error
      }
    }
    return present
  }
}
