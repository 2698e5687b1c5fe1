/** A simulated virtual machine: as much of it as its VFIO device needs. */
import { VfioError } from '../errors.ts'
import { KVM_DEV_TYPE_VFIO } from '../uapi/constants.ts'
import { KvmVfioDevice, type SpaprTceAttacher } from './vfio-device.ts'

/** Settings of a virtual machine. */
export interface VirtualMachineOptions {
  /** Gives a group a TCE table of the guest, where the machine can (POWER). */
  setSpaprTce?: SpaprTceAttacher
}

/** A virtual machine. It lives as long as its file and the files of its devices are open. */
export class VirtualMachine {
  readonly #options: VirtualMachineOptions
  #vfio: KvmVfioDevice | undefined

  constructor(options: VirtualMachineOptions = {}) {
    this.#options = options
  }

  /** Its VFIO device, if there is one. */
  get vfio(): KvmVfioDevice | undefined {
    return this.#vfio
  }

  /** Refuses kinds of devices that are not there. @throws {VfioError} ENODEV */
  requireType(type: number): void {
    if (type === KVM_DEV_TYPE_VFIO) return
    throw new VfioError('ENODEV', 'KVM_CREATE_DEVICE', { reason: `there are no devices of type ${type}` })
  }

  /** Makes its VFIO device. @throws {VfioError} EBUSY there is one */
  createVfioDevice(): KvmVfioDevice {
    if (this.#vfio !== undefined) {
      throw new VfioError('EBUSY', 'KVM_CREATE_DEVICE', {
        reason: 'the virtual machine has a VFIO device',
        remedy: 'use that one, or close it',
      })
    }
    this.#vfio = new KvmVfioDevice(this, this.#options.setSpaprTce, () => {
      this.#vfio = undefined
    })
    return this.#vfio
  }
}
