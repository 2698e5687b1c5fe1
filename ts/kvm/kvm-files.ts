/** `/dev/kvm`, virtual machines and their devices as files. */
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  KVM_API_VERSION,
  KVM_CREATE_DEVICE_TEST,
  KVM_DEV_VFIO_FILE_ADD,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
} from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { kvmCreateDevice, kvmDeviceAttr, kvmVfioSpaprTce } from '../uapi/structs.ts'
import { status } from '../native/syscall.ts'
import { addFile, deleteFile, refuseToRead, requireAttribute, setSpaprTce } from './attributes.ts'
import type { KvmCaller } from './held-file.ts'
import { checkExtension } from './software-kvm.ts'
import type { KvmVfioDevice } from './vfio-device.ts'
import { VirtualMachine, type VirtualMachineOptions } from './virtual-machine.ts'

/** The file `/dev/kvm`. */
export class KvmFile {
  readonly kind = 'kvm'
  readonly #options: VirtualMachineOptions

  constructor(options: VirtualMachineOptions = {}) {
    this.#options = options
  }

  ioctl(caller: KvmCaller, request: number, argument: IoctlArgument): number {
    switch (request) {
      case IOCTL.KVM_GET_API_VERSION:
        requireNothing(argument, 'KVM_GET_API_VERSION')
        return KVM_API_VERSION
      case IOCTL.KVM_CREATE_VM:
        requireNothing(argument, 'KVM_CREATE_VM')
        return caller.install(new VirtualMachineFile(new VirtualMachine(this.#options)))
      case IOCTL.KVM_CHECK_EXTENSION:
        return checkExtension(argument.value)
      default:
        throw new VfioError('EINVAL', 'ioctl', { reason: `/dev/kvm knows no request 0x${request.toString(16)}` })
    }
  }
}

/** The file of a virtual machine. */
export class VirtualMachineFile {
  readonly kind = 'kvm-vm'
  readonly machine: VirtualMachine

  constructor(machine: VirtualMachine) {
    this.machine = machine
  }

  ioctl(caller: KvmCaller, request: number, argument: IoctlArgument): number {
    switch (request) {
      case IOCTL.KVM_CHECK_EXTENSION:
        return checkExtension(argument.value)
      case IOCTL.KVM_CREATE_DEVICE:
        this.#createDevice(caller, argument)
        return 0
      default:
        throw new VfioError('ENOTTY', 'ioctl', {
          reason: `a virtual machine knows no request 0x${request.toString(16)}`,
        })
    }
  }

  #createDevice(caller: KvmCaller, argument: IoctlArgument): void {
    const asked = kvmCreateDevice.decode(argument.read(kvmCreateDevice.size))
    this.machine.requireType(asked.type)
    let fd: number | undefined
    if ((asked.flags & KVM_CREATE_DEVICE_TEST) === 0) {
      const device = this.machine.createVfioDevice()
      try {
        fd = caller.install(new KvmDeviceFile(device))
      } catch (error) {
        device.close()
        throw error
      }
    }
    try {
      argument.write(kvmCreateDevice.bytes({ ...asked, fd: fd ?? asked.fd }))
    } catch (error) {
      if (fd !== undefined) caller.remove(fd)
      throw error
    }
  }
}

/** The file of a virtual machine's VFIO device. */
export class KvmDeviceFile {
  readonly kind = 'kvm-device'
  readonly device: KvmVfioDevice

  constructor(device: KvmVfioDevice) {
    this.device = device
  }

  ioctl(caller: KvmCaller, request: number, argument: IoctlArgument): number {
    switch (request) {
      case IOCTL.KVM_SET_DEVICE_ATTR:
        this.#set(caller, argument)
        return 0
      case IOCTL.KVM_GET_DEVICE_ATTR:
        return refuseToRead()
      case IOCTL.KVM_HAS_DEVICE_ATTR:
        this.#has(argument)
        return 0
      default:
        throw new VfioError('ENOTTY', 'ioctl', { reason: `the device knows no request 0x${request.toString(16)}` })
    }
  }

  release(): void {
    this.device.close()
  }

  #has(argument: IoctlArgument): void {
    const { group, attr } = kvmDeviceAttr.decode(argument.read(kvmDeviceAttr.size))
    requireAttribute(this.device, 'KVM_HAS_DEVICE_ATTR', group, attr)
  }

  #set(caller: KvmCaller, argument: IoctlArgument): void {
    const { group, attr, addr } = kvmDeviceAttr.decode(argument.read(kvmDeviceAttr.size))
    requireAttribute(this.device, 'KVM_SET_DEVICE_ATTR', group, attr)
    if (attr === BigInt(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE)) {
      const { groupfd, tablefd } = kvmVfioSpaprTce.decode(copyIn(caller, addr, kvmVfioSpaprTce.size))
      return setSpaprTce(this.device, caller, groupfd, tablefd)
    }
    const fd = new DataView(copyIn(caller, addr, 4).buffer).getInt32(0, true)
    if (attr === BigInt(KVM_DEV_VFIO_FILE_ADD)) addFile(this.device, caller, fd)
    else deleteFile(this.device, caller, fd)
  }
}

function requireNothing(argument: IoctlArgument, operation: string): void {
  if (argument.value !== 0n) throw new VfioError('EINVAL', operation, { reason: 'its argument is 0' })
}

function copyIn(caller: KvmCaller, address: bigint, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length)
  status(caller.mm.read(address, bytes), 'KVM_SET_DEVICE_ATTR', { address })
  return bytes
}
