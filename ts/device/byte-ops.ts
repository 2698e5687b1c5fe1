/** A driver that parses requests as bytes, in the shape of the device interface: questions by value become its ioctls. */
import { VfioError } from '../errors.ts'
import {
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_REGION_INFO_FLAG_CAPS,
} from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { vfioDeviceInfo, vfioInfoCapHeader, vfioIrqInfo, vfioIrqSet, vfioRegionInfo } from '../uapi/structs.ts'
import type { BusDriverArgument, BusDriverOps } from './bus-driver-ops.ts'
import { bytesArgument } from './bytes-argument.ts'
import type {
  DeviceInfo,
  FeatureDescriptors,
  InfoCapability,
  IoctlArgument,
  IrqInfo,
  IrqSetRequest,
  RegionInfo,
  VfioDeviceOps,
} from './ops.ts'

const REGION_SHIFT = 40n
/** Room for an info structure with its capabilities. */
const INFO_ROOM = 4096

/**
 * Gives the device interface over callbacks that get `device` and bytes. What is typed asks by ioctl; what came as bytes
 * reaches the driver as it came.
 */
export function byteOps<D>(device: D, driver: BusDriverOps<D>): VfioDeviceOps {
  const ioctl = (request: number, argument: BusDriverArgument): number => {
    if (driver.ioctl === undefined) throw lacking('ioctl')
    return driver.ioctl(device, request, argument)
  }
  const { read, write, mmap, match, dmaUnmap, deviceFeature } = driver
  return {
    name: driver.name,
    init: () => driver.init?.(device),
    release: () => driver.release?.(device),
    bindIommufd: (id) => driver.bindIommufd?.(device, id),
    unbindIommufd: () => driver.unbindIommufd?.(device),
    attachIoas: (ptId) => driver.attachIoas?.(device, ptId),
    detachIoas: () => driver.detachIoas?.(device),
    openDevice: (dma, machine) => driver.openDevice?.(device, dma, machine),
    closeDevice: () => driver.closeDevice?.(device),
    request: (count) => driver.request?.(device, count),
    getInfo: () => deviceInfo(ioctl),
    getRegionInfo: (index) => regionInfo(ioctl, index),
    getIrqInfo: (index) => irqInfo(ioctl, index),
    setIrqs: (request) => {
      const { argsz, flags, index, start, count } = request
      const header = vfioIrqSet.bytes({ argsz, flags, index, start, count })
      ioctl(IOCTL.VFIO_DEVICE_SET_IRQS, irqArgument(header, request))
    },
    reset: () => void ioctl(IOCTL.VFIO_DEVICE_RESET, argumentIn(new Uint8Array(0))),
    ioctl: (request, argument, descriptors) => ioctl(request, withEvents(argument, descriptors)),
    passThrough: (request, argument, descriptors) => ioctl(request, withEvents(argument, descriptors)),
    ...(read && {
      read: (region: number, offset: bigint, into: Uint8Array) =>
        read.call(driver, device, into, positionOf(region, offset)),
    }),
    ...(write && {
      write: (region: number, offset: bigint, from: Uint8Array) =>
        write.call(driver, device, from, positionOf(region, offset)),
    }),
    ...(mmap && {
      mmap: (region: number, offset: bigint, length: bigint, { read, write, shared }: MapAccess) =>
        mmap.call(driver, device, { offset: positionOf(region, offset), length, read, write, shared }),
    }),
    ...(match && { match: (name: string) => match.call(driver, device, name) }),
    ...(dmaUnmap && { dmaUnmap: (iova: bigint, length: bigint) => dmaUnmap.call(driver, device, iova, length) }),
    ...(deviceFeature && {
      deviceFeature: (flags: number, argument: IoctlArgument, argsz: number, descriptors: FeatureDescriptors) =>
        deviceFeature.call(driver, device, flags, argument, argsz, descriptors),
    }),
  }
}

type Ioctl = (request: number, argument: BusDriverArgument) => number
type MapAccess = { read: boolean; write: boolean; shared: boolean }

function deviceInfo(ioctl: Ioctl): DeviceInfo {
  const memory = roomFor(vfioDeviceInfo.bytes({ argsz: INFO_ROOM }))
  ioctl(IOCTL.VFIO_DEVICE_GET_INFO, argumentIn(memory))
  const { flags, numRegions, numIrqs, capOffset } = vfioDeviceInfo.decode(memory)
  return { flags, numRegions, numIrqs, ...capabilitiesOf(memory, (flags & VFIO_DEVICE_FLAGS_CAPS) !== 0, capOffset) }
}

function regionInfo(ioctl: Ioctl, index: number): RegionInfo {
  const memory = roomFor(vfioRegionInfo.bytes({ argsz: INFO_ROOM, index }))
  ioctl(IOCTL.VFIO_DEVICE_GET_REGION_INFO, argumentIn(memory))
  const { flags, size, offset, capOffset } = vfioRegionInfo.decode(memory)
  return { flags, size, offset, ...capabilitiesOf(memory, (flags & VFIO_REGION_INFO_FLAG_CAPS) !== 0, capOffset) }
}

function irqInfo(ioctl: Ioctl, index: number): IrqInfo {
  const memory = vfioIrqInfo.bytes({ argsz: vfioIrqInfo.size, index })
  ioctl(IOCTL.VFIO_DEVICE_GET_IRQ_INFO, argumentIn(memory))
  const { flags, count } = vfioIrqInfo.decode(memory)
  return { flags, count }
}

/** User memory that is `memory` alone. */
function argumentIn(memory: Uint8Array, eventfd: BusDriverArgument['eventfd'] = noEvent): BusDriverArgument {
  return { ...bytesArgument(memory), eventfd }
}

function withEvents(argument: IoctlArgument, descriptors: FeatureDescriptors): BusDriverArgument {
  return {
    value: argument.value,
    read: (length, offset) => argument.read(length, offset),
    write: (data, offset) => argument.write(data, offset),
    eventfd: (fd) => descriptors.event(fd),
  }
}

/** The argument of SET_IRQS: its payload is fetched where the driver reads it. */
function irqArgument(header: Uint8Array, request: IrqSetRequest): BusDriverArgument {
  const whole = (length: number, offset: number) => {
    if (offset + length <= header.length) return header
    const payload =
      (request.flags & VFIO_IRQ_SET_DATA_EVENTFD) !== 0
        ? descriptors(request.eventfds())
        : (request.flags & VFIO_IRQ_SET_DATA_BOOL) !== 0
          ? request.bools()
          : new Uint8Array(0)
    return Uint8Array.from([...header, ...payload])
  }
  return {
    ...argumentIn(header, (fd) => {
      const entries = request.eventfds()
      for (let i = 0; i < entries.length; i++) if (entries.fd(i) === fd) return entries.get(i)
      return noEvent()
    }),
    read: (length, offset = 0) => bytesArgument(whole(length, offset)).read(length, offset),
  }
}

function descriptors(events: { length: number; fd(i: number): number }): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(events.length * 4))
  for (let i = 0; i < events.length; i++) bytes.setInt32(i * 4, events.fd(i), true)
  return new Uint8Array(bytes.buffer)
}

function roomFor(start: Uint8Array): Uint8Array {
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
  return new VfioError('EINVAL', callback, { reason: `the driver has no ${callback}` })
}
