import { describe, expect, it } from 'vitest'
import type { FileHandle, HostProcess } from '../../ts/index.ts'
import { KVM_CREATE_DEVICE_TEST, KVM_DEV_TYPE_VFIO, KVM_DEV_VFIO_FILE } from '../../ts/uapi/constants.ts'
import { kvmCreateDevice, kvmDeviceAttr } from '../../ts/uapi/structs.ts'
import { EDU, errno, machine, ramOf } from '../iommufd/machine.ts'

const ADD = 1n
const DEL = 2n

function virtualMachine(process: HostProcess): FileHandle {
  return process.file(process.open('/dev/kvm').ioctl('KVM_CREATE_VM', 0n))
}

function createDevice(process: HostProcess, vm: FileHandle, flags = 0): FileHandle | undefined {
  const bytes = kvmCreateDevice.bytes({ type: KVM_DEV_TYPE_VFIO, flags })
  vm.ioctl('KVM_CREATE_DEVICE', bytes)
  return process.fileOrUndefined(kvmCreateDevice.decode(bytes).fd)
}

function set(process: HostProcess, device: FileHandle | undefined, attr: bigint, fd: number): void {
  const { address: addr } = ramOf(process, 1)
  process.writeMemory(addr, Int32Array.of(fd))
  device?.ioctl('KVM_SET_DEVICE_ATTR', kvmDeviceAttr.bytes({ group: KVM_DEV_VFIO_FILE, attr, addr }))
}

describe("a virtual machine's VFIO device", () => {
  it('is one at a time', () => {
    using host = machine()
    const process = host.process()
    const vm = virtualMachine(process)
    expect(createDevice(process, vm, KVM_CREATE_DEVICE_TEST)).toBeUndefined()
    const device = createDevice(process, vm)
    expect(() => createDevice(process, vm)).toThrow(errno('EBUSY'))
    device?.close()
    expect(createDevice(process, vm)).toBeDefined()
  })

  it('holds files until it lets them go, or is closed', () => {
    using host = machine()
    const process = host.process()
    const device = createDevice(process, virtualMachine(process))
    const path = `/dev/vfio/${host.groupOf(EDU).number}`
    const group = process.open(path)
    set(process, device, ADD, group.fd)
    expect(() => set(process, device, ADD, group.dup().fd)).toThrow(errno('EEXIST'))
    process.exit()
    host.process().open(path).close()
  })

  it('keeps a group closed to others while it holds it', () => {
    using host = machine()
    const process = host.process()
    const device = createDevice(process, virtualMachine(process))
    const path = `/dev/vfio/${host.groupOf(EDU).number}`
    const group = process.open(path)
    set(process, device, ADD, group.fd)
    group.close()
    expect(() => process.open(path)).toThrow(errno('EBUSY'))
    device?.close()
    const again = process.open(path)
    const second = createDevice(process, virtualMachine(process))
    expect(() => set(process, second, DEL, again.fd)).toThrow(errno('ENOENT'))
    set(process, second, ADD, again.fd)
    set(process, second, DEL, again.fd)
    again.close()
    process.open(path).close()
  })

  it('takes files of VFIO only', () => {
    using host = machine()
    const process = host.process()
    const device = createDevice(process, virtualMachine(process))
    set(process, device, ADD, process.open('/dev/vfio/devices/vfio0').fd)
    expect(() => set(process, device, ADD, process.open('/dev/iommu').fd)).toThrow(errno('EINVAL'))
    expect(() => set(process, device, ADD, 999)).toThrow(errno('EBADF'))
    expect(() => set(process, device, 3n, 999)).toThrow(errno('ENXIO'))
  })
})
