/** `/dev/kvm`, virtual machines and their devices as files. */
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  KVM_API_VERSION,
  KVM_CAP_DEVICE_CTRL,
  KVM_CREATE_DEVICE_TEST,
  KVM_DEV_VFIO_FILE,
  KVM_DEV_VFIO_FILE_ADD,
  KVM_DEV_VFIO_FILE_DEL,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
} from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { kvmCreateDevice, kvmDeviceAttr, kvmVfioSpaprTce } from '../uapi/structs.ts'
import { status } from '../native/syscall.ts'
import type { HeldFile, KvmCaller } from './held-file.ts'
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
        return checkExtension(argument)
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
        return checkExtension(argument)
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
        throw new VfioError('EPERM', 'KVM_GET_DEVICE_ATTR', { reason: 'attributes of this device are only set' })
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
    if (group !== KVM_DEV_VFIO_FILE || !this.#knows(attr)) throw noAttribute('KVM_HAS_DEVICE_ATTR', group, attr)
  }

  #set(caller: KvmCaller, argument: IoctlArgument): void {
    const operation = 'KVM_SET_DEVICE_ATTR'
    const { group, attr, addr } = kvmDeviceAttr.decode(argument.read(kvmDeviceAttr.size))
    if (group !== KVM_DEV_VFIO_FILE || !this.#knows(attr)) throw noAttribute(operation, group, attr)
    if (attr === BigInt(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE)) return this.#setSpaprTce(caller, addr)
    const held = hold(caller, readS32(caller, addr), operation)
    if (attr === BigInt(KVM_DEV_VFIO_FILE_ADD)) return this.device.add(held)
    try {
      this.device.delete(held.file)
    } finally {
      held.release()
    }
  }

  #knows(attr: bigint): boolean {
    if (attr === BigInt(KVM_DEV_VFIO_FILE_ADD) || attr === BigInt(KVM_DEV_VFIO_FILE_DEL)) return true
    return attr === BigInt(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE) && this.device.setSpaprTce !== undefined
  }

  #setSpaprTce(caller: KvmCaller, address: bigint): void {
    const operation = 'KVM_SET_DEVICE_ATTR'
    const bytes = new Uint8Array(kvmVfioSpaprTce.size)
    status(caller.mm.read(address, bytes), operation, { address })
    const { groupfd, tablefd } = kvmVfioSpaprTce.decode(bytes)
    const group = hold(caller, groupfd, operation)
    try {
      if (!this.device.has(group.file)) {
        throw new VfioError('ENOENT', operation, { reason: 'the group was not added' })
      }
      const table = hold(caller, tablefd, operation)
      try {
        this.device.setSpaprTce?.(group.file, table.file)
      } finally {
        table.release()
      }
    } finally {
      group.release()
    }
  }
}

function checkExtension(argument: IoctlArgument): number {
  return argument.value === BigInt(KVM_CAP_DEVICE_CTRL) ? 1 : 0
}

function requireNothing(argument: IoctlArgument, operation: string): void {
  if (argument.value !== 0n) throw new VfioError('EINVAL', operation, { reason: 'its argument is 0' })
}

function noAttribute(operation: string, group: number, attr: bigint): VfioError {
  return new VfioError('ENXIO', operation, { reason: `there is no attribute ${attr} in group ${group}` })
}

function readS32(caller: KvmCaller, address: bigint): number {
  const bytes = new Uint8Array(4)
  status(caller.mm.read(address, bytes), 'KVM_SET_DEVICE_ATTR', { address })
  return new DataView(bytes.buffer).getInt32(0, true)
}

function hold(caller: KvmCaller, fd: number, operation: string): HeldFile {
  const held = caller.hold(fd)
  if (held === undefined) throw new VfioError('EBADF', operation, { reason: `descriptor ${fd} is not open` })
  return held
}
