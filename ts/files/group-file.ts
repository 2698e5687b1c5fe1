/** The files `/dev/vfio/N` and `/dev/vfio/noiommu-N`: an open group as bytes. */
import type { IoctlArgument } from '../device/ops.ts'
import { readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import type { GroupSession } from '../group/group-session.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { vfioGroupStatus } from '../uapi/structs.ts'
import { readS32, readString } from './argument.ts'
import { DeviceFile } from './device-file.ts'
import type { Caller, OpenFile } from './open-file.ts'

/** Longest device name, its NUL included. */
const NAME_LIMIT = 4096

/** An open group. */
export class GroupFile implements OpenFile {
  readonly kind = 'vfio-group'
  readonly groupSession: GroupSession

  constructor(session: GroupSession) {
    this.groupSession = session
  }

  ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    switch (request) {
      case IOCTL.VFIO_GROUP_GET_STATUS:
        return this.#getStatus(argument)
      case IOCTL.VFIO_GROUP_SET_CONTAINER:
        return this.#setContainer(caller, argument)
      case IOCTL.VFIO_GROUP_UNSET_CONTAINER:
        this.groupSession.unsetContainer()
        return 0
      case IOCTL.VFIO_GROUP_GET_DEVICE_FD:
        return this.#getDevice(caller, argument)
      default:
        throw new VfioError('ENOTTY', 'ioctl', { reason: `a group knows no request 0x${request.toString(16)}` })
    }
  }

  setMachine(machine: object | undefined): void {
    this.groupSession.group.machine = machine
  }

  release(): void {
    this.groupSession.release()
  }

  #getStatus(argument: IoctlArgument): number {
    const { argsz } = readStruct(argument, vfioGroupStatus, vfioGroupStatus.size, 'VFIO_GROUP_GET_STATUS')
    writeStruct(argument, vfioGroupStatus, { argsz, flags: this.groupSession.flags() })
    return 0
  }

  #setContainer(caller: Caller, argument: IoctlArgument): number {
    const fd = readS32(argument)
    const file = caller.file(fd)
    if (file === undefined)
      throw new VfioError('EBADF', 'VFIO_GROUP_SET_CONTAINER', { reason: `descriptor ${fd} is not open` })
    this.groupSession.setContainer(caller, file.groupContainer)
    return 0
  }

  #getDevice(caller: Caller, argument: IoctlArgument): number {
    const session = this.groupSession.openDevice(caller, readString(argument, NAME_LIMIT))
    try {
      return caller.install(new DeviceFile(session))
    } catch (error) {
      session.close()
      throw error
    }
  }
}
