/** A device of an older parent as a VFIO device: typed questions become the ioctls that its driver parses. */
import type {
  DeviceInfo,
  InfoCapability,
  IoctlArgument,
  IrqInfo,
  IrqSetRequest,
  RegionInfo,
  RegionMapping,
  VfioDeviceOps,
} from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_REGION_INFO_FLAG_CAPS,
} from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { vfioDeviceInfo, vfioInfoCapHeader, vfioIrqInfo, vfioIrqSet, vfioRegionInfo } from '../uapi/structs.ts'
import type { LegacyArgument, MdevParentOps } from './legacy-ops.ts'
import type { Mdev } from './model.ts'

const REGION_SHIFT = 40n
/** Room for an info structure with its capabilities. */
const INFO_ROOM = 4096

/** The callbacks of one device over those of its parent. */
export class LegacyDevice implements VfioDeviceOps {
  readonly name: string
  readonly #mdev: Mdev
  readonly #ops: MdevParentOps

  constructor(mdev: Mdev, ops: MdevParentOps) {
    this.name = mdev.parent.driver.name
    this.#mdev = mdev
    this.#ops = ops
  }

  openDevice(): void {
    const { open } = this.#ops
    if (open === undefined) throw lacking('open')
    open.call(this.#ops, this.#mdev)
  }

  closeDevice(): void {
    this.#ops.release?.(this.#mdev)
  }

  getInfo(): DeviceInfo {
    const memory = vfioInfo(vfioDeviceInfo.bytes({ argsz: INFO_ROOM }))
    this.#ioctl(IOCTL.VFIO_DEVICE_GET_INFO, argumentIn(memory))
    const { flags, numRegions, numIrqs, capOffset } = vfioDeviceInfo.decode(memory)
    return { flags, numRegions, numIrqs, ...capabilitiesOf(memory, (flags & VFIO_DEVICE_FLAGS_CAPS) !== 0, capOffset) }
  }

  getRegionInfo(index: number): RegionInfo {
    const memory = vfioInfo(vfioRegionInfo.bytes({ argsz: INFO_ROOM, index }))
    this.#ioctl(IOCTL.VFIO_DEVICE_GET_REGION_INFO, argumentIn(memory))
    const { flags, size, offset, capOffset } = vfioRegionInfo.decode(memory)
    return { flags, size, offset, ...capabilitiesOf(memory, (flags & VFIO_REGION_INFO_FLAG_CAPS) !== 0, capOffset) }
  }

  getIrqInfo(index: number): IrqInfo {
    const memory = vfioIrqInfo.bytes({ argsz: vfioIrqInfo.size, index })
    this.#ioctl(IOCTL.VFIO_DEVICE_GET_IRQ_INFO, argumentIn(memory))
    const { flags, count } = vfioIrqInfo.decode(memory)
    return { flags, count }
  }

  setIrqs(request: IrqSetRequest): void {
    const { argsz, flags, index, start, count } = request
    const header = vfioIrqSet.bytes({ argsz, flags, index, start, count })
    this.#ioctl(IOCTL.VFIO_DEVICE_SET_IRQS, irqArgument(header, request))
  }

  reset(): void {
    this.#ioctl(IOCTL.VFIO_DEVICE_RESET, argumentIn(new Uint8Array(0)))
  }

  read(region: number, offset: bigint, into: Uint8Array): number {
    const { read } = this.#ops
    if (read === undefined) throw lacking('read')
    return read.call(this.#ops, this.#mdev, into, positionOf(region, offset))
  }

  write(region: number, offset: bigint, from: Uint8Array): number {
    const { write } = this.#ops
    if (write === undefined) throw lacking('write')
    return write.call(this.#ops, this.#mdev, from, positionOf(region, offset))
  }

  mmap(
    region: number,
    offset: bigint,
    length: bigint,
    access: { read: boolean; write: boolean; shared: boolean },
  ): RegionMapping {
    const { mmap } = this.#ops
    if (mmap === undefined) throw lacking('mmap')
    const { read, write, shared } = access
    return mmap.call(this.#ops, this.#mdev, { offset: positionOf(region, offset), length, read, write, shared })
  }

  ioctl(request: number, argument: IoctlArgument): number {
    return this.#ioctl(request, {
      value: argument.value,
      read: (length, offset) => argument.read(length, offset),
      write: (data, offset) => argument.write(data, offset),
      eventfd: noEvent,
    })
  }

  #ioctl(request: number, argument: LegacyArgument): number {
    const { ioctl } = this.#ops
    if (ioctl === undefined) throw lacking('ioctl')
    return ioctl.call(this.#ops, this.#mdev, request, argument)
  }
}

/** User memory that is `memory` alone. */
function argumentIn(memory: Uint8Array, eventfd: LegacyArgument['eventfd'] = noEvent): LegacyArgument {
  const inside = (offset: number, length: number) => {
    if (offset < 0 || length < 0 || offset + length > memory.length) throw new VfioError('EFAULT', 'ioctl')
  }
  return {
    value: 0n,
    read: (length, offset = 0) => {
      inside(offset, length)
      return memory.slice(offset, offset + length)
    },
    write: (data, offset = 0) => {
      inside(offset, data.byteLength)
      memory.set(data, offset)
    },
    eventfd,
  }
}

/** The argument of SET_IRQS: its payload is fetched where the driver reads it. */
function irqArgument(header: Uint8Array, request: IrqSetRequest): LegacyArgument {
  const events = () => request.eventfds()
  const whole = (length: number, offset: number) => {
    if (offset + length <= header.length) return header
    const payload =
      (request.flags & VFIO_IRQ_SET_DATA_EVENTFD) !== 0
        ? descriptors(events())
        : (request.flags & VFIO_IRQ_SET_DATA_BOOL) !== 0
          ? request.bools()
          : new Uint8Array(0)
    return Uint8Array.from([...header, ...payload])
  }
  return {
    ...argumentIn(header, (fd) => {
      const entries = events()
      for (let i = 0; i < entries.length; i++) if (entries.fd(i) === fd) return entries.get(i)
      return noEvent()
    }),
    read: (length, offset = 0) => argumentIn(whole(length, offset)).read(length, offset),
  }
}

function descriptors(events: { length: number; fd(i: number): number }): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(events.length * 4))
  for (let i = 0; i < events.length; i++) bytes.setInt32(i * 4, events.fd(i), true)
  return new Uint8Array(bytes.buffer)
}

function vfioInfo(start: Uint8Array): Uint8Array {
  const memory = new Uint8Array(INFO_ROOM)
  memory.set(start)
  return memory
}

/** Walks the chain behind an info structure, as far as it makes sense; each payload ends where the next capability begins. */
function capabilitiesOf(memory: Uint8Array, there: boolean, first: number): { capabilities?: InfoCapability[] } {
  if (!there) return {}
  const capabilities: InfoCapability[] = []
  for (let at = first; at !== 0 && at + vfioInfoCapHeader.size <= memory.length;) {
    const { id, version, next } = vfioInfoCapHeader.decode(memory, at)
    const end = next > at ? next : memory.length
    capabilities.push({ id, version, payload: memory.slice(at + vfioInfoCapHeader.size, end) })
    at = next > at ? next : 0
  }
  return { capabilities }
}

function positionOf(region: number, offset: bigint): bigint {
  return (BigInt(region) << REGION_SHIFT) + offset
}

function noEvent(): never {
  throw new VfioError('EBADF', 'eventfd')
}

function lacking(callback: string): VfioError {
  return new VfioError('EINVAL', callback, { reason: `the parent's driver has no ${callback}` })
}
