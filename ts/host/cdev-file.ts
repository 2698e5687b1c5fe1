/** The file `/dev/vfio/devices/vfioN`: a device that an iommufd opens. */
import type { IoctlArgument } from '../device/ops.ts'
import { endOf, writeStruct } from '../device/struct-argument.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { VfioError } from '../errors.ts'
import { DeviceFile } from '../files/device-file.ts'
import type { Caller } from '../files/open-file.ts'
import type { VfioGroup } from '../group/vfio-group.ts'
import type { BoundDevice } from '../iommufd/bound-device.ts'
import { CdevSession } from '../iommufd/cdev-session.ts'
import { takeCommand } from '../iommufd/command.ts'
import type { IommufdContext } from '../iommufd/context.ts'
import type { MachineIommu } from '../iommufd/hardware.ts'
import { status } from '../native/syscall.ts'
import type { Codec, Decoded, Fields } from '../uapi/codec.ts'
import { VFIO_DEVICE_ATTACH_PASID, VFIO_DEVICE_BIND_FLAG_TOKEN, VFIO_DEVICE_DETACH_PASID } from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { vfioDeviceAttachIommufdPt, vfioDeviceBindIommufd, vfioDeviceDetachIommufdPt } from '../uapi/structs.ts'
import { IommufdFile } from './iommufd-file.ts'

const BIND = 'VFIO_DEVICE_BIND_IOMMUFD'
const TOKEN_SIZE = 16

/** Opens a device's own file. @throws {VfioError} EPERM no isolation and no right to that */
export function openCdev(caller: Caller, device: VfioDevice, group: VfioGroup, iommu: MachineIommu): CdevFile {
  if (group.kind === 'noiommu' && !caller.capable('CAP_SYS_RAWIO')) {
    throw new VfioError('EPERM', 'open', { reason: 'a device without isolation needs CAP_SYS_RAWIO' })
  }
  return new CdevFile(device, group, iommu)
}

/** A device's own file: until it is bound to an iommufd everything is EINVAL. */
export class CdevFile extends DeviceFile {
  readonly #cdev: CdevSession

  constructor(device: VfioDevice, group: VfioGroup, iommu: MachineIommu) {
    const cdev = new CdevSession(device, group, iommu)
    super(cdev.session)
    this.#cdev = cdev
  }

  override ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    if (request === IOCTL.VFIO_DEVICE_BIND_IOMMUFD) return this.#bind(caller, argument)
    this.session.ops('ioctl')
    if (request === IOCTL.VFIO_DEVICE_ATTACH_IOMMUFD_PT) return this.#attach(argument)
    if (request === IOCTL.VFIO_DEVICE_DETACH_IOMMUFD_PT) return this.#detach(argument)
    return super.ioctl(caller, request, argument)
  }

  override release(): void {
    super.release()
    this.#cdev.closed()
  }

  #bind(caller: Caller, argument: IoctlArgument): number {
    const { flags, iommufd, tokenUuidPtr } = readGrowing(
      argument,
      vfioDeviceBindIommufd,
      endOf(vfioDeviceBindIommufd, 'out_devid'),
      BIND,
    )
    if (iommufd < 0 || (flags & ~VFIO_DEVICE_BIND_FLAG_TOKEN) !== 0) {
      throw new VfioError('EINVAL', BIND, { reason: 'no iommufd, or unknown flags' })
    }
    const find = (): IommufdContext => {
      this.#checkToken(caller, (flags & VFIO_DEVICE_BIND_FLAG_TOKEN) === 0 ? undefined : tokenUuidPtr)
      const file = caller.file(iommufd)
      if (file === undefined) throw new VfioError('EBADF', BIND, { reason: `descriptor ${iommufd} is not open` })
      if (file instanceof IommufdFile) return file.context
      throw new VfioError('EBADFD', BIND, { reason: `descriptor ${iommufd} is no iommufd` })
    }
    this.#cdev.bind(find, (id) => {
      const out = new Uint8Array(4)
      new DataView(out.buffer).setUint32(0, id, true)
      argument.write(out, vfioDeviceBindIommufd.fields['out_devid']?.offset ?? 0)
    })
    return 0
  }

  /** A token is for devices that ask for one. */
  #checkToken(caller: Caller, address: bigint | undefined): void {
    const { ops } = this.session.device
    if (ops.matchToken === undefined) {
      if (address === undefined) return
      throw new VfioError('EINVAL', BIND, { reason: `${ops.name} knows no tokens` })
    }
    if (address === undefined) return ops.matchToken(undefined)
    const token = new Uint8Array(TOKEN_SIZE)
    status(caller.mm.read(address, token), BIND, { address })
    ops.matchToken(token)
  }

  #attach(argument: IoctlArgument): number {
    const operation = 'VFIO_DEVICE_ATTACH_IOMMUFD_PT'
    const codec = vfioDeviceAttachIommufdPt
    const asked = readPasid(argument, codec, 'pt_id', VFIO_DEVICE_ATTACH_PASID, operation, this.#cdev.bound)
    const { bound } = this.#cdev
    const { ptId, pasid } = asked.value
    const id = asked.withPasid ? bound.attachPasid(pasid, ptId) : bound.attach(ptId)
    try {
      writeStruct(argument, codec, { ...asked.value, ptId: id }, endOf(codec, 'pt_id'))
    } catch (error) {
      if (asked.withPasid) bound.detachPasid(pasid)
      else bound.detach()
      throw error
    }
    return 0
  }

  #detach(argument: IoctlArgument): number {
    const operation = 'VFIO_DEVICE_DETACH_IOMMUFD_PT'
    const codec = vfioDeviceDetachIommufdPt
    const asked = readPasid(argument, codec, 'flags', VFIO_DEVICE_DETACH_PASID, operation, this.#cdev.bound)
    if (asked.withPasid) this.#cdev.bound.detachPasid(asked.value.pasid)
    else this.#cdev.bound.detach()
    return 0
  }
}

/** Copies a structure in that callers may know less or more of. @throws {VfioError} EFAULT, EINVAL, E2BIG */
function readGrowing<F extends Fields>(
  argument: IoctlArgument,
  codec: Codec<F>,
  least: number,
  operation: string,
): Decoded<F> {
  return takeCommand(argument, codec, operation, least).value
}

/** Reads an attach or detach, whose PASID lies behind what has to be there. */
function readPasid<F extends Fields>(
  argument: IoctlArgument,
  codec: Codec<F>,
  lastMember: string,
  flag: number,
  operation: string,
  bound: BoundDevice,
): { value: Decoded<F>; withPasid: boolean } {
  const least = endOf(codec, lastMember)
  const bytes = new Uint8Array(codec.size)
  bytes.set(argument.read(least))
  const view = new DataView(bytes.buffer)
  const [argsz, flags] = [view.getUint32(0, true), view.getUint32(4, true)]
  if (argsz < least || (flags & ~flag) !== 0) {
    throw new VfioError('EINVAL', operation, { reason: `argsz is ${argsz}, flags 0x${flags.toString(16)}` })
  }
  const withPasid = (flags & flag) !== 0
  if (withPasid) {
    bound.requirePasids(operation)
    if (argsz < codec.size) throw new VfioError('EINVAL', operation, { reason: 'there is no room for a PASID' })
    bytes.set(argument.read(codec.size - least, least), least)
  }
  return { value: codec.decode(bytes), withPasid }
}
