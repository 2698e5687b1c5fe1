/** The typed handle of an open device of 2011. */
import { EventEmitter } from 'node:events'
import type { BusDriverArgument } from '../device/bus-driver-ops.ts'
import { bytesArgument } from '../device/bytes-argument.ts'
import { EventFd } from '../device/event-fd.ts'
import type { RegionMapping } from '../device/ops.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { bytes, flag, list, record, u32, u64, type U64 } from '../shape.ts'
import {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_IRQ_INFO_FLAG_LEVEL,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_RO,
} from '../uapi/2011/constants.ts'
import { IOCTL } from '../uapi/2011/ioctl.ts'
import { vfioDeviceInfo, vfioIrqEventfds, vfioIrqInfo, vfioRegionInfo, vfioUnmaskIrq } from '../uapi/2011/structs.ts'
import type { DeviceSession } from './device-session.ts'

/** Events of a device. */
export interface DeviceEvents {
  /** The driver wants to leave: close the device, please. Comes again, with a higher count, while it stays open. */
  request: [count: number]
}

/** An open device. */
export class Device extends EventEmitter<DeviceEvents> {
  readonly #session: DeviceSession

  /** @internal */
  constructor(session: DeviceSession) {
    super()
    this.#session = session
    session.onRequest = (count) => this.emit('request', count)
  }

  /** Name of the device. */
  get name(): string {
    return this.#session.name
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#session.closed
  }

  /** What it has (`VFIO_DEVICE_GET_INFO`). @throws {VfioError} EBADF closed */
  info(): { reset: boolean; numRegions: number; numIrqs: number } {
    const answer = vfioDeviceInfo.bytes({ argsz: vfioDeviceInfo.size })
    this.#ioctl(IOCTL.VFIO_DEVICE_GET_INFO, answer)
    const { flags, numRegions, numIrqs } = vfioDeviceInfo.decode(answer)
    return { reset: (flags & VFIO_DEVICE_FLAGS_RESET) !== 0, numRegions, numIrqs }
  }

  /** A region: whether it can be mapped, or only be read, and where it lies in the device file (`VFIO_DEVICE_GET_REGION_INFO`). @throws {VfioError} EBADF closed, EINVAL no such region */
  regionInfo(index: number): { mmap: boolean; readOnly: boolean; size: bigint; offset: bigint } {
    const answer = vfioRegionInfo.bytes({ argsz: vfioRegionInfo.size, index: u32(index, 'index') })
    this.#ioctl(IOCTL.VFIO_DEVICE_GET_REGION_INFO, answer)
    const { flags, size, offset } = vfioRegionInfo.decode(answer)
    const has = (bit: number): boolean => (flags & bit) !== 0
    return { mmap: has(VFIO_REGION_INFO_FLAG_MMAP), readOnly: has(VFIO_REGION_INFO_FLAG_RO), size, offset }
  }

  /** An interrupt index: level or edge triggered, how many (`VFIO_DEVICE_GET_IRQ_INFO`). @throws {VfioError} EBADF closed, EINVAL no such index */
  irqInfo(index: number): { level: boolean; count: number } {
    const answer = vfioIrqInfo.bytes({ argsz: vfioIrqInfo.size, index: u32(index, 'index') })
    this.#ioctl(IOCTL.VFIO_DEVICE_GET_IRQ_INFO, answer)
    const { flags, count } = vfioIrqInfo.decode(answer)
    return { level: (flags & VFIO_IRQ_INFO_FLAG_LEVEL) !== 0, count }
  }

  /**
   * Sets what the interrupts of an index signal, and enables them; null unsets one, none at all disable the index
   * (`VFIO_DEVICE_SET_IRQ_EVENTFDS`).
   * @throws {VfioError} EBADF closed, EINVAL no such index or more than it has, and what the driver refuses with
   */
  setIrqEventFds(index: number, events: readonly (EventFd | null)[]): void {
    this.#setEvents(IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, index, events)
  }

  /** Unmasks an interrupt; one that is level triggered is masked when it was told (`VFIO_DEVICE_UNMASK_IRQ`). @throws {VfioError} EBADF closed, EINVAL, ENOTTY */
  unmaskIrq(index: number, subindex = 0): void {
    const request = { argsz: vfioUnmaskIrq.size, index: u32(index, 'index'), subindex: u32(subindex, 'subindex') }
    this.#ioctl(IOCTL.VFIO_DEVICE_UNMASK_IRQ, vfioUnmaskIrq.bytes(request))
  }

  /** Sets what unmasks the interrupts of an index when it is signalled (`VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD`). @throws {VfioError} as {@link setIrqEventFds} */
  setUnmaskIrqEventFds(index: number, events: readonly (EventFd | null)[]): void {
    this.#setEvents(IOCTL.VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD, index, events)
  }

  /** Resets it (`VFIO_DEVICE_RESET`). @throws {VfioError} EBADF closed, EINVAL it cannot be reset alone, ENOTTY */
  reset(): void {
    this.#ioctl(IOCTL.VFIO_DEVICE_RESET, new Uint8Array(0))
  }

  /** Reads `length` bytes at a position of the device file; fewer come where a region ends. @throws {VfioError} EBADF closed, EINVAL, EIO, EAGAIN it answers later */
  read(position: U64, length: number): Uint8Array {
    const into = new Uint8Array(u32(length, 'length'))
    return into.subarray(0, this.#session.read(into, u64(position, 'position')))
  }

  /** Writes at a position of the device file; returns the bytes written. @throws {VfioError} as {@link read} */
  write(position: U64, from: ArrayBufferView | ArrayBuffer): number {
    return this.#session.write(bytes(from, 'from'), u64(position, 'position'))
  }

  /** Maps part of the device file, shared. @throws {VfioError} EBADF closed, EINVAL the region is not mapped, or not that much of it */
  mmap(request: { position: U64; length: U64; read?: boolean; write?: boolean }): RegionMapping {
    const { read, write } = record(request, 'request')
    return this.#session.mmap({
      offset: u64(request.position, 'position'),
      length: u64(request.length, 'length'),
      read: flag(read, 'read', true),
      write: flag(write, 'write', true),
      shared: true,
    })
  }

  /** Closes it (idempotent); its interrupts end. */
  close(): void {
    this.#session.close()
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close()
  }

  /** Events are told by their place: the driver looks them up as a program's descriptors. */
  #setEvents(request: number, index: number, events: readonly (EventFd | null)[]): void {
    const sinks = list(events, 'events').map((event) => {
      if (event === null || event instanceof EventFd) return event?.sink
      throw invalidArgType('events[]', 'an EventFd or null', event)
    })
    const argument = new Uint8Array(vfioIrqEventfds.size + sinks.length * 4)
    const head = { argsz: argument.byteLength, index: u32(index, 'index'), count: sinks.length }
    vfioIrqEventfds.encode(head, argument)
    const view = new DataView(argument.buffer)
    sinks.forEach((sink, i) => view.setInt32(vfioIrqEventfds.size + i * 4, sink === undefined ? -1 : i, true))
    this.#ioctl(request, argument, (fd) => sinks[fd] ?? noEvent())
  }

  #ioctl(request: number, memory: Uint8Array, eventfd: BusDriverArgument['eventfd'] = noEvent): void {
    this.#session.ioctl(request, { ...bytesArgument(memory), eventfd })
  }
}

function noEvent(): never {
  throw new VfioError('EBADF', 'eventfd')
}
