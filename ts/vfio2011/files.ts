/** The files of 2011: groups, IOMMUs and devices as bytes, with that header's requests and structures. */
import type { BusDriverArgument } from '../device/bus-driver-ops.ts'
import type { IoctlArgument, RegionMapping } from '../device/ops.ts'
import { readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import { readS32, readString } from '../files/argument.ts'
import { eventOf } from '../files/eventfd-lookup.ts'
import type { Caller, MmapAccess, OpenFile } from '../files/open-file.ts'
import { IOCTL } from '../uapi/2011/ioctl.ts'
import { vfioDmaMap, vfioGroupInfo, vfioIommuInfo } from '../uapi/2011/structs.ts'
import type { DeviceGroup } from './device-group.ts'
import { DeviceSession } from './device-session.ts'
import { IommuSession } from './iommu-session.ts'

/** Longest device name, its NUL included. */
const NAME_LIMIT = 4096
const PAGE_MASK = 0xfffn
const LAST_POSITION = 0x7fff_ffff_ffff_ffffn

/** An open group. */
export class GroupFile implements OpenFile {
  readonly kind = 'vfio2011-group'
  readonly group: DeviceGroup

  /** @throws {VfioError} ENODEV its devices were taken away */
  constructor(group: DeviceGroup) {
    group.open()
    this.group = group
  }

  ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    switch (request) {
      case IOCTL.VFIO_GROUP_GET_INFO: {
        const { argsz } = readStruct(argument, vfioGroupInfo, vfioGroupInfo.size, 'VFIO_GROUP_GET_INFO')
        writeStruct(argument, vfioGroupInfo, { argsz, flags: this.group.flags() })
        return 0
      }
      case IOCTL.VFIO_GROUP_MERGE:
        this.group.merge(groupBehind(caller, readS32(argument)), caller)
        return 0
      case IOCTL.VFIO_GROUP_UNMERGE:
        this.group.unmerge()
        return 0
      case IOCTL.VFIO_GROUP_GET_IOMMU_FD:
        return install(caller, new IommuFile(new IommuSession(caller, this.group)))
      case IOCTL.VFIO_GROUP_GET_DEVICE_FD: {
        const name = readString(argument, NAME_LIMIT)
        return install(caller, new DeviceFile(new DeviceSession(caller, this.group, name)))
      }
      default:
        throw unknown('a group', request)
    }
  }

  release(): void {
    this.group.close()
  }
}

/** An open IOMMU. */
export class IommuFile implements OpenFile {
  readonly kind = 'vfio2011-iommu'
  readonly #session: IommuSession

  constructor(session: IommuSession) {
    this.#session = session
  }

  ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    switch (request) {
      case IOCTL.VFIO_IOMMU_GET_INFO: {
        const { argsz } = readStruct(argument, vfioIommuInfo, vfioIommuInfo.size, 'VFIO_IOMMU_GET_INFO')
        writeStruct(argument, vfioIommuInfo, { argsz, flags: 0, ...this.#session.info(caller) })
        return 0
      }
      case IOCTL.VFIO_IOMMU_MAP_DMA:
        this.#session.mapDma(caller, readStruct(argument, vfioDmaMap, vfioDmaMap.size, 'VFIO_IOMMU_MAP_DMA'))
        return 0
      default:
        throw unknown('an IOMMU', request)
    }
  }

  release(): void {
    this.#session.close()
  }
}

/** An open device: every request goes to its driver. */
export class DeviceFile implements OpenFile {
  readonly kind = 'vfio2011-device'
  readonly #session: DeviceSession
  #position = 0n

  constructor(session: DeviceSession) {
    this.#session = session
  }

  ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    const withEvents: BusDriverArgument = {
      value: argument.value,
      read: (length, offset) => argument.read(length, offset),
      write: (data, offset) => argument.write(data, offset),
      eventfd: (fd) => eventOf(caller, fd, 'VFIO_DEVICE_SET_IRQ_EVENTFDS'),
    }
    return this.#session.ioctl(request, withEvents)
  }

  read(_caller: Caller, into: Uint8Array, position: bigint | undefined): number {
    return this.#access('read', position, (at) => this.#session.read(into, at))
  }

  write(_caller: Caller, from: Uint8Array, position: bigint | undefined): number {
    return this.#access('write', position, (at) => this.#session.write(from, at))
  }

  mmap(_caller: Caller, offset: bigint, length: bigint, { read, write, shared }: MmapAccess): RegionMapping {
    if (offset < 0n || length <= 0n || (offset & PAGE_MASK) !== 0n)
      throw new VfioError('EINVAL', 'mmap', { address: offset })
    const pages = (length + PAGE_MASK) & ~PAGE_MASK
    if (offset + pages > LAST_POSITION) throw new VfioError('EOVERFLOW', 'mmap', { address: offset })
    return this.#session.mmap({ offset, length: pages, read, write, shared })
  }

  release(): void {
    this.#session.close()
  }

  #access(operation: 'read' | 'write', position: bigint | undefined, run: (at: bigint) => number): number {
    const at = position ?? this.#position
    if (at < 0n || at > LAST_POSITION) throw new VfioError('EINVAL', operation, { address: at })
    const done = run(at)
    if (position === undefined) this.#position = at + BigInt(done)
    return done
  }
}

/** The group behind a descriptor. @throws {VfioError} EBADF it is not open, EINVAL it is no group of this kind */
function groupBehind(caller: Caller, fd: number): DeviceGroup {
  const file = caller.file(fd)
  if (file === undefined) throw new VfioError('EBADF', 'VFIO_GROUP_MERGE', { reason: `descriptor ${fd} is not open` })
  if (file instanceof GroupFile) return file.group
  throw new VfioError('EINVAL', 'VFIO_GROUP_MERGE', { reason: `descriptor ${fd} is no group` })
}

/** Gives the caller a descriptor. @throws {VfioError} EMFILE; nothing stays open */
function install(caller: Caller, file: OpenFile): number {
  try {
    return caller.install(file)
  } catch (error) {
    file.release?.()
    throw error
  }
}

function unknown(what: string, request: number): VfioError {
  return new VfioError('ENOTTY', 'ioctl', { reason: `${what} knows no request 0x${request.toString(16)}` })
}
