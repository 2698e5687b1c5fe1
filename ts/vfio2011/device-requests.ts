/**
 * Devices of today's interface under the header of 2011: its requests as callbacks that get the device.
 *
 * This is what a bus driver of 2011 hands to the core for a device that answers by values, such as a PCI function.
 */
import type { BusDriverArgument } from '../device/bus-driver-ops.ts'
import type { IrqEventFds, RegionPlace, VfioDeviceOps } from '../device/ops.ts'
import { readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import * as old from '../uapi/2011/constants.ts'
import { IOCTL } from '../uapi/2011/ioctl.ts'
import { vfioDeviceInfo, vfioIrqEventfds, vfioIrqInfo, vfioRegionInfo, vfioUnmaskIrq } from '../uapi/2011/structs.ts'
import * as present from '../uapi/constants.ts'
import { vfioIrqSet } from '../uapi/structs.ts'
import type { DeviceOps } from './device-ops.ts'

const REGION_SHIFT = 40n
const REGION_MASK = (1n << REGION_SHIFT) - 1n

/** Callbacks for any device of today's interface, which is the data that it is bound with. */
export const deviceRequests: DeviceOps<VfioDeviceOps> = {
  open: (device, dma) => device.openDevice?.(dma),
  release: (device) => device.closeDevice?.(),
  read: (device, into, position) => {
    if (device.read === undefined) throw new VfioError('EINVAL', 'read', { reason: `${device.name} reads no region` })
    const { region, offset } = placeOf(device, position)
    return device.read(region, offset, into)
  },
  write: (device, from, position) => {
    if (device.write === undefined)
      throw new VfioError('EINVAL', 'write', { reason: `${device.name} writes no region` })
    const { region, offset } = placeOf(device, position)
    return device.write(region, offset, from)
  },
  mmap: (device, { offset: position, length, read, write, shared }) => {
    if (device.mmap === undefined) throw new VfioError('EINVAL', 'mmap', { reason: `${device.name} maps no region` })
    const { region, offset } = placeOf(device, position)
    return device.mmap(region, offset, length, { read, write, shared })
  },
  ioctl: (device, request, argument) => {
    switch (request) {
      case IOCTL.VFIO_DEVICE_GET_INFO:
        return getInfo(device, argument)
      case IOCTL.VFIO_DEVICE_GET_REGION_INFO:
        return getRegionInfo(device, argument)
      case IOCTL.VFIO_DEVICE_GET_IRQ_INFO:
        return getIrqInfo(device, argument)
      case IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS:
        return setEvents(device, argument, present.VFIO_IRQ_SET_ACTION_TRIGGER, 'VFIO_DEVICE_SET_IRQ_EVENTFDS')
      case IOCTL.VFIO_DEVICE_UNMASK_IRQ:
        return unmask(device, argument)
      case IOCTL.VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD:
        return setEvents(device, argument, present.VFIO_IRQ_SET_ACTION_UNMASK, 'VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD')
      case IOCTL.VFIO_DEVICE_RESET:
        if (device.reset === undefined) throw new VfioError('ENOTTY', 'VFIO_DEVICE_RESET')
        device.reset()
        return 0
      default:
        throw new VfioError('ENOTTY', 'ioctl', { reason: `a device knows no request 0x${request.toString(16)}` })
    }
  },
}

function getInfo(device: VfioDeviceOps, argument: BusDriverArgument): number {
  const { argsz } = readStruct(argument, vfioDeviceInfo, vfioDeviceInfo.size, 'VFIO_DEVICE_GET_INFO')
  const { flags, numRegions, numIrqs } = device.getInfo()
  const reset = (flags & present.VFIO_DEVICE_FLAGS_RESET) !== 0 ? old.VFIO_DEVICE_FLAGS_RESET : 0
  writeStruct(argument, vfioDeviceInfo, { argsz, flags: reset, numRegions, numIrqs })
  return 0
}

function getRegionInfo(device: VfioDeviceOps, argument: BusDriverArgument): number {
  const asked = readStruct(argument, vfioRegionInfo, vfioRegionInfo.size, 'VFIO_DEVICE_GET_REGION_INFO')
  const { flags, size, offset } = device.getRegionInfo(asked.index)
  const mappable = (flags & present.VFIO_REGION_INFO_FLAG_MMAP) !== 0
  const readable = (flags & present.VFIO_REGION_INFO_FLAG_READ) !== 0
  const writable = (flags & present.VFIO_REGION_INFO_FLAG_WRITE) !== 0
  const answer =
    (mappable ? old.VFIO_REGION_INFO_FLAG_MMAP : 0) | (readable && !writable ? old.VFIO_REGION_INFO_FLAG_RO : 0)
  writeStruct(argument, vfioRegionInfo, { ...asked, flags: answer, size, offset })
  return 0
}

function getIrqInfo(device: VfioDeviceOps, argument: BusDriverArgument): number {
  const asked = readStruct(argument, vfioIrqInfo, vfioIrqInfo.size, 'VFIO_DEVICE_GET_IRQ_INFO')
  const { flags, count } = device.getIrqInfo(asked.index)
  const level = (flags & present.VFIO_IRQ_INFO_AUTOMASKED) !== 0 ? old.VFIO_IRQ_INFO_FLAG_LEVEL : 0
  writeStruct(argument, vfioIrqInfo, { ...asked, flags: level, count })
  return 0
}

/** Sets eventfds to signal, or to be unmasked by. None at all disable the index. @throws {VfioError} EFAULT, EINVAL, and what the device refuses with */
function setEvents(device: VfioDeviceOps, argument: BusDriverArgument, action: number, operation: string): number {
  const { argsz, flags, index, count } = readStruct(argument, vfioIrqEventfds, vfioIrqEventfds.size, operation)
  if (flags !== 0) throw new VfioError('EINVAL', operation, { reason: `unknown flags 0x${flags.toString(16)}` })
  const there = device.getIrqInfo(index).count
  if (count > there) throw new VfioError('EINVAL', operation, { reason: `index ${index} has ${there} interrupts` })
  if (argsz < vfioIrqEventfds.size + count * 4) {
    throw new VfioError('EINVAL', operation, {
      reason: `argsz is ${argsz}, with ${count} eventfds behind the structure`,
    })
  }
  const data = count === 0 ? present.VFIO_IRQ_SET_DATA_NONE : present.VFIO_IRQ_SET_DATA_EVENTFD
  device.setIrqs({
    argsz: vfioIrqSet.size + count * 4,
    flags: data | action,
    index,
    start: 0,
    count,
    bools: () => new Uint8Array(0),
    eventfds: () => eventsIn(argument, count),
  })
  return 0
}

function eventsIn(argument: BusDriverArgument, count: number): IrqEventFds {
  const bytes = argument.read(count * 4, vfioIrqEventfds.size)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const fd = (i: number): number => view.getInt32(i * 4, true)
  return { length: count, fd, get: (i) => argument.eventfd(fd(i)) }
}

function unmask(device: VfioDeviceOps, argument: BusDriverArgument): number {
  const operation = 'VFIO_DEVICE_UNMASK_IRQ'
  const { flags, index, subindex } = readStruct(argument, vfioUnmaskIrq, vfioUnmaskIrq.size, operation)
  if (flags !== 0) throw new VfioError('EINVAL', operation, { reason: `unknown flags 0x${flags.toString(16)}` })
  device.setIrqs({
    argsz: vfioIrqSet.size,
    flags: present.VFIO_IRQ_SET_DATA_NONE | present.VFIO_IRQ_SET_ACTION_UNMASK,
    index,
    start: subindex,
    count: 1,
    bools: () => new Uint8Array(0),
    eventfds: () => ({ length: 0, fd: () => -1, get: noEvent }),
  })
  return 0
}

function noEvent(): never {
  throw new VfioError('EBADF', 'eventfd')
}

function placeOf(device: VfioDeviceOps, position: bigint): RegionPlace {
  return device.locate?.(position) ?? { region: Number(position >> REGION_SHIFT), offset: position & REGION_MASK }
}
