/** The KVM of a simulated machine, behind the typed objects. */
import {
  KVM_API_VERSION,
  KVM_CAP_DEVICE_CTRL,
  KVM_DEV_VFIO_FILE,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
} from '../uapi/constants.ts'
import { addFile, deleteFile, refuseToRead, requireAttribute, setSpaprTce } from './attributes.ts'
import type { KvmCaller } from './held-file.ts'
import { Kvm, type VfioDeviceBackend, type VirtualMachineBackend } from './kvm.ts'
import type { KvmVfioDevice } from './vfio-device.ts'
import { VirtualMachine, type VirtualMachineOptions } from './virtual-machine.ts'

/** Opens the KVM of a simulated machine for a process of it. */
export function softwareKvm(caller: KvmCaller, options: VirtualMachineOptions): Kvm {
  return new Kvm({
    name: 'software',
    apiVersion: () => KVM_API_VERSION,
    checkExtension,
    createMachine: () => machineOf(caller, new VirtualMachine(options)),
    close: () => {},
  })
}

/** Tells whether the simulated KVM has an extension. */
export function checkExtension(extension: number | bigint): number {
  return BigInt(extension) === BigInt(KVM_CAP_DEVICE_CTRL) ? 1 : 0
}

function machineOf(caller: KvmCaller, machine: VirtualMachine): VirtualMachineBackend {
  return {
    checkExtension,
    createVfioDevice: (test) => (test ? undefined : deviceOf(caller, machine.createVfioDevice())),
    close: () => {},
  }
}

function deviceOf(caller: KvmCaller, device: KvmVfioDevice): VfioDeviceBackend {
  return {
    add: (fd) => addFile(device, caller, fd),
    delete: (fd) => deleteFile(device, caller, fd),
    setSpaprTce: (groupFd, tableFd) => {
      const attribute = BigInt(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE)
      requireAttribute(device, 'KVM_SET_DEVICE_ATTR', KVM_DEV_VFIO_FILE, attribute)
      setSpaprTce(device, caller, groupFd, tableFd)
    },
    has: (group, attribute) => requireAttribute(device, 'KVM_HAS_DEVICE_ATTR', group, attribute),
    get: refuseToRead,
    close: () => device.close(),
  }
}
