/** Files of a test process, with calls as programs make them. */
import { ContainerFile } from '../../ts/files/container-file.ts'
import { GroupFile } from '../../ts/files/group-file.ts'
import { ioctlArgument, type ArgumentSource } from '../../ts/files/argument.ts'
import { GroupSession } from '../../ts/group/group-session.ts'
import { VfioError } from '../../ts/errors.ts'
import { IOCTL } from '../../ts/uapi/ioctl.ts'
import type { VfioDeviceOps } from '../../ts/device/ops.ts'
import { DiaryDriver, TestMachine } from '../parts/machine.ts'

export const NAME = '0000:00:04.0'

/** A process with a container, a group and, after `start()`, a device open. */
export class TestFiles {
  readonly machine: TestMachine
  readonly process
  readonly container: number
  readonly group: number
  readonly vfioDevice
  readonly vfioGroup

  constructor(ops: Partial<VfioDeviceOps> = {}, driver = new DiaryDriver()) {
    this.machine = new TestMachine(driver)
    this.process = this.machine.process
    const { device, group } = this.machine.plain(NAME, ops)
    this.vfioDevice = device
    this.vfioGroup = group
    this.container = this.process.install(new ContainerFile(this.machine.container()))
    this.group = this.process.install(new GroupFile(new GroupSession(this.process, group)))
  }

  /** Calls as the kernel does: what is not there is ENOTTY. */
  ioctl(fd: number, request: number | keyof typeof IOCTL, argument: ArgumentSource = 0n): number {
    const file = this.process.file(fd)
    if (file === undefined) throw new VfioError('EBADF', 'ioctl')
    if (file.ioctl === undefined) throw new VfioError('ENOTTY', 'ioctl')
    const number = typeof request === 'number' ? request : IOCTL[request]
    return file.ioctl(this.process, number, ioctlArgument(argument, this.process.mm))
  }

  /** Puts the group into the container, chooses a model, opens the device. */
  start(): number {
    this.ioctl(this.group, 'VFIO_GROUP_SET_CONTAINER', s32(this.container))
    this.ioctl(this.container, 'VFIO_SET_IOMMU', 3n)
    return this.ioctl(this.group, 'VFIO_GROUP_GET_DEVICE_FD', NAME)
  }
}

/** What a call answers, undefined where it is refused. Anything thrown that is no errno is an error of the product. */
export function answerOf<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch (error) {
    if (error instanceof VfioError) return undefined
    throw error
  }
}

/** A signed 32-bit number as bytes. */
export function s32(...values: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer)
}

/** Unsigned 32-bit numbers as bytes. */
export function u32s(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer)
}
