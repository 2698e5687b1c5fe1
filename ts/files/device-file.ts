/**
 * The file of an open device: regions at offsets, requests as bytes.
 *
 * Region i begins at i << 40, as in the kernel's PCI driver, unless the device has a layout of its own.
 */
import { writeInfoChain } from '../device/info-chain.ts'
import type { DeviceSession } from '../device/device-session.ts'
import type { IoctlArgument, RegionMapping, RegionPlace, VfioDeviceOps } from '../device/ops.ts'
import { endOf, readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import { VFIO_DEVICE_FLAGS_CAPS, VFIO_REGION_INFO_FLAG_CAPS } from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { vfioDeviceBindIommufd, vfioDeviceInfo, vfioIrqInfo, vfioRegionInfo } from '../uapi/structs.ts'
import { hotReset, hotResetInfo } from './hot-reset-ioctl.ts'
import { ioeventfd, setIrqs } from './irq-ioctl.ts'
import { featureCaller } from './feature-caller.ts'
import type { Caller, MmapAccess, OpenFile } from './open-file.ts'

const REGION_SHIFT = 40n
const REGION_MASK = (1n << REGION_SHIFT) - 1n
const PAGE_MASK = 0xfffn
/** Size of a process's address space. */
const ADDRESSES = 0x7fff_ffff_f000n
const LAST_POSITION = 0x7fff_ffff_ffff_ffffn
const DEVICE_INFO_MIN = endOf(vfioDeviceInfo, 'num_irqs')

/** An open device. */
export class DeviceFile implements OpenFile {
  readonly kind = 'vfio-device'
  readonly session: DeviceSession
  #position = 0n

  constructor(session: DeviceSession) {
    this.session = session
  }

  ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    const { session } = this
    if (request === IOCTL.VFIO_DEVICE_BIND_IOMMUFD) return refuseBind(argument)
    const ops = session.ops('ioctl')
    if (ops.passThrough !== undefined && request !== IOCTL.VFIO_DEVICE_FEATURE) {
      return ops.passThrough(request, argument, featureCaller(caller, session))
    }
    switch (request) {
      case IOCTL.VFIO_DEVICE_GET_INFO:
        return this.#getInfo(argument)
      case IOCTL.VFIO_DEVICE_GET_REGION_INFO:
        return this.#getRegionInfo(argument)
      case IOCTL.VFIO_DEVICE_GET_IRQ_INFO:
        return this.#getIrqInfo(argument)
      case IOCTL.VFIO_DEVICE_SET_IRQS:
        return setIrqs(session, caller, argument)
      case IOCTL.VFIO_DEVICE_RESET:
        session.reset()
        return 0
      case IOCTL.VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
        return hotResetInfo(session, argument)
      case IOCTL.VFIO_DEVICE_PCI_HOT_RESET:
        return hotReset(session, caller, argument)
      case IOCTL.VFIO_DEVICE_IOEVENTFD:
        return ioeventfd(session, caller, argument)
      case IOCTL.VFIO_DEVICE_FEATURE:
        return session.feature(argument, featureCaller(caller, session))
      default:
        return session.ioctl(request, argument, featureCaller(caller, session))
    }
  }

  read(_caller: Caller, into: Uint8Array, position: bigint | undefined): number {
    return this.#access('read', position, into.byteLength, (region, offset) => this.session.read(region, offset, into))
  }

  write(_caller: Caller, from: Uint8Array, position: bigint | undefined): number {
    return this.#access('write', position, from.byteLength, (region, offset) =>
      this.session.write(region, offset, from),
    )
  }

  mmap(_caller: Caller, offset: bigint, length: bigint, access: MmapAccess): RegionMapping {
    if (length <= 0n || (offset & PAGE_MASK) !== 0n) throw new VfioError('EINVAL', 'mmap', { address: offset })
    const pages = (length + PAGE_MASK) & ~PAGE_MASK
    if (pages > ADDRESSES) throw new VfioError('ENOMEM', 'mmap', { address: offset })
    if (offset < 0n || offset + pages > LAST_POSITION) throw new VfioError('EOVERFLOW', 'mmap', { address: offset })
    const { read, write, shared } = access
    const place = placeOf(this.session.ops('mmap'), offset)
    return this.session.mmap(place.region, place.offset, pages, { read, write, shared })
  }

  setMachine(machine: object | undefined): void {
    this.session.machine = machine
  }

  release(): void {
    this.session.close()
  }

  #access(
    operation: 'read' | 'write',
    position: bigint | undefined,
    length: number,
    run: (region: number, offset: bigint) => number,
  ): number {
    const ops = this.session.ops(operation)
    const at = position ?? this.#position
    if (at < 0n || at > LAST_POSITION) throw new VfioError('EINVAL', operation, { address: at })
    if (ops[operation] === undefined)
      throw new VfioError('EINVAL', operation, { reason: `${ops.name} has no regions to ${operation}` })
    if (length === 0) return 0
    const place = placeOf(ops, at)
    const done = run(place.region, place.offset)
    if (position === undefined) this.#position = at + BigInt(done)
    return done
  }

  #getInfo(argument: IoctlArgument): number {
    const { argsz } = readStruct(argument, vfioDeviceInfo, DEVICE_INFO_MIN, 'VFIO_DEVICE_GET_INFO')
    const { flags, numRegions, numIrqs, capabilities } = this.session.info()
    const chain = writeInfoChain(argument, capabilities, argsz, vfioDeviceInfo.size)
    const answer = {
      argsz: chain?.argsz ?? argsz,
      flags: chain === undefined ? flags : flags | VFIO_DEVICE_FLAGS_CAPS,
      numRegions,
      numIrqs,
      capOffset: chain?.capOffset ?? 0,
    }
    writeStruct(argument, vfioDeviceInfo, answer, Math.min(argsz, vfioDeviceInfo.size))
    return 0
  }

  #getRegionInfo(argument: IoctlArgument): number {
    const asked = readStruct(argument, vfioRegionInfo, vfioRegionInfo.size, 'VFIO_DEVICE_GET_REGION_INFO')
    const { flags, size, offset, capabilities } = this.session.regionInfo(asked.index)
    const chain = writeInfoChain(argument, capabilities, asked.argsz, vfioRegionInfo.size)
    const caps = chain === undefined ? 0 : VFIO_REGION_INFO_FLAG_CAPS
    writeStruct(argument, vfioRegionInfo, { ...asked, ...chain, flags: flags | caps, size, offset })
    return 0
  }

  #getIrqInfo(argument: IoctlArgument): number {
    const asked = readStruct(argument, vfioIrqInfo, vfioIrqInfo.size, 'VFIO_DEVICE_GET_IRQ_INFO')
    const { flags, count } = this.session.irqInfo(asked.index)
    writeStruct(argument, vfioIrqInfo, { ...asked, flags, count })
    return 0
  }
}

/** The place that a position of the file means. */
function placeOf(ops: VfioDeviceOps, position: bigint): RegionPlace {
  return ops.locate?.(position) ?? { region: Number(position >> REGION_SHIFT), offset: position & REGION_MASK }
}

/** `VFIO_DEVICE_BIND_IOMMUFD` is for character devices only. */
function refuseBind(argument: IoctlArgument): never {
  readStruct(argument, vfioDeviceBindIommufd, endOf(vfioDeviceBindIommufd, 'out_devid'), 'VFIO_DEVICE_BIND_IOMMUFD')
  throw new VfioError('EINVAL', 'VFIO_DEVICE_BIND_IOMMUFD', { reason: 'the device was opened through its group' })
}
