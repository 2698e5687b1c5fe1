/** The system's own KVM, behind the typed objects: the same calls with the kernel's answers. */
import { VfioError, type VfioErrorDetails } from '../errors.ts'
import type { NativeKvm } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { text } from '../shape.ts'
import {
  KVM_API_VERSION,
  KVM_DEV_VFIO_FILE,
  KVM_DEV_VFIO_FILE_ADD,
  KVM_DEV_VFIO_FILE_DEL,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
} from '../uapi/constants.ts'
import { kvmVfioSpaprTce } from '../uapi/structs.ts'
import { Kvm, type VfioDeviceBackend, type VirtualMachineBackend } from './kvm.ts'

const DEV_KVM = '/dev/kvm'
const SET = 'KVM_SET_DEVICE_ATTR'

/**
 * Opens the system's KVM (Linux): its machines' VFIO devices take descriptors of this program, such as those of the kernel's own
 * `/dev/vfio` files, and answer with the kernel's errno.
 * @throws {VfioError} EOPNOTSUPP no Linux, ENOENT the system has no KVM, EACCES no right to it, ENODEV another file or version, and
 * what the system refuses with
 */
export function openKvm(path: string = DEV_KVM): Kvm {
  const name = text(path, 'path')
  const { NativeKvm } = addon()
  if (NativeKvm === undefined) {
    throw new VfioError('EOPNOTSUPP', 'open', { path: name, reason: `${process.platform} has no KVM` })
  }
  const native = syscall(
    'open',
    () => NativeKvm.open(name),
    (code) => whyNot(code, name),
  )
  try {
    const version = versionOf(native, name)
    if (version !== KVM_API_VERSION) {
      throw new VfioError('ENODEV', 'KVM_GET_API_VERSION', { path: name, reason: `its version is ${version}` })
    }
  } catch (error) {
    native.close()
    throw error
  }
  return new Kvm({
    name: 'linux',
    apiVersion: () => syscall('KVM_GET_API_VERSION', () => native.apiVersion()),
    checkExtension: (extension) => syscall('KVM_CHECK_EXTENSION', () => native.checkExtension(extension)),
    createMachine: () => machineOf(syscall('KVM_CREATE_VM', () => native.createMachine())),
    close: () => native.close(),
  })
}

function versionOf(native: NativeKvm, path: string): number {
  try {
    return native.apiVersion()
  } catch (cause) {
    throw new VfioError('ENODEV', 'KVM_GET_API_VERSION', { path, reason: 'it is no file of KVM', cause })
  }
}

function machineOf(native: NativeKvm): VirtualMachineBackend {
  return {
    checkExtension: (extension) => syscall('KVM_CHECK_EXTENSION', () => native.checkExtension(extension)),
    createVfioDevice: (test) => {
      const device = syscall('KVM_CREATE_DEVICE', () => native.createVfioDevice(test))
      return device === null || device === undefined ? undefined : deviceOf(device)
    },
    close: () => native.close(),
  }
}

function deviceOf(native: NativeKvm): VfioDeviceBackend {
  const set = (attribute: number, data: Uint8Array, details: VfioErrorDetails = {}) =>
    syscall(SET, () => native.setAttribute(KVM_DEV_VFIO_FILE, BigInt(attribute), data), details)
  return {
    add: (fd) => set(KVM_DEV_VFIO_FILE_ADD, s32(fd), { reason: `descriptor ${fd}` }),
    delete: (fd) => set(KVM_DEV_VFIO_FILE_DEL, s32(fd), { reason: `descriptor ${fd}` }),
    setSpaprTce: (groupfd, tablefd) =>
      set(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE, kvmVfioSpaprTce.bytes({ groupfd, tablefd })),
    has: (group, attribute) => syscall('KVM_HAS_DEVICE_ATTR', () => native.hasAttribute(group, attribute)),
    get: (group, attribute) => syscall('KVM_GET_DEVICE_ATTR', () => native.getAttribute(group, attribute)),
    close: () => native.close(),
  }
}

/** A descriptor in the byte order of the system, which is where the kernel reads it. */
function s32(fd: number): Uint8Array {
  return new Uint8Array(Int32Array.of(fd).buffer)
}

function whyNot(code: string, path: string): VfioErrorDetails {
  if (code === 'ENOENT')
    return {
      path,
      reason: 'the system has no KVM',
      remedy: 'load kvm_intel or kvm_amd; in a virtual machine, nested virtualization has to be on',
    }
  if (code === 'EACCES') return { path, remedy: 'join the group that owns it, such as kvm' }
  return { path }
}
