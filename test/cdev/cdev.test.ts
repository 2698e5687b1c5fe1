import { describe, expect, it } from 'vitest'
import { Edu, InertFunction, SoftwareHost } from '../../ts/index.ts'
import { iommuIoasNoiommuGetPa, vfioDeviceAttachIommufdPt, vfioDeviceBindIommufd } from '../../ts/uapi/structs.ts'
import { allocIoas, EDU, errno, machine, mapAt, ramOf, UUID } from '../iommufd/machine.ts'

const bindTo = (iommufd: number) => vfioDeviceBindIommufd.bytes({ argsz: vfioDeviceBindIommufd.size, iommufd })
const attachTo = (ptId: number) => vfioDeviceAttachIommufdPt.bytes({ argsz: 12, ptId })

describe('the file of a device', () => {
  it('takes its group from host drivers and from groups, and gives it back', () => {
    using host = machine()
    const process = host.process()
    const iommufd = process.open('/dev/iommu')
    const device = process.open('/dev/vfio/devices/vfio0')
    device.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bindTo(iommufd.fd))
    const { number } = host.groupOf(EDU)
    expect(() => process.open(`/dev/vfio/${number}`)).toThrow(errno('EBUSY'))
    device.close()
    process.open(`/dev/vfio/${number}`).close()
  })

  it('is refused while another device of its group does DMA for the host', () => {
    using host = new SoftwareHost()
    const bridge = host.pci.addBridge('0000:00:02.0', { kind: 'pcie-to-pci', secondaryBus: 1 })
    for (const at of ['0000:01:01.0', '0000:01:02.0']) {
      host.pci.add(at, new InertFunction({ id: '1234:5678' }), { behind: bridge, driver: 'vfio-pci' })
    }
    host.pci.bind('0000:01:02.0', 'snd_emu')
    const process = host.process()
    const iommufd = process.open('/dev/iommu')
    const device = process.open('/dev/vfio/devices/vfio0')
    expect(() => device.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bindTo(iommufd.fd))).toThrow(errno('EPERM'))
    host.pci.unbind('0000:01:02.0')
    device.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bindTo(iommufd.fd))
    expect(() => host.pci.bind('0000:01:02.0', 'snd_emu')).toThrow(errno('EBUSY'))
  })

  it('has devices of one group in one page table', () => {
    using host = new SoftwareHost()
    const bridge = host.pci.addBridge('0000:00:02.0', { kind: 'pcie-to-pci', secondaryBus: 1 })
    for (const at of ['0000:01:01.0', '0000:01:02.0']) {
      host.pci.add(at, new InertFunction({ id: '1234:5678' }), { behind: bridge, driver: 'vfio-pci' })
    }
    using iommufd = host.iommufd()
    using first = iommufd.bind('0000:01:01.0')
    using second = iommufd.bind('0000:01:02.0')
    const [one, other] = [iommufd.allocIoas(), iommufd.allocIoas()]
    const id = first.attach(one)
    expect(() => second.attach(other)).toThrow(errno('EINVAL'))
    expect(second.attach(one)).toBe(id)
    expect(first.attach(other)).not.toBe(id)
    one.destroy()
    second.detach()
    first.detach()
    other.destroy()
  })

  it('answers no bind that it cannot tell of', () => {
    using host = machine()
    const process = host.process()
    const iommufd = process.open('/dev/iommu')
    const device = process.open('/dev/vfio/devices/vfio0')
    const { address } = ramOf(process, 1)
    process.writeMemory(address, bindTo(iommufd.fd))
    process.protect(address, 4096n, { read: true, write: false })
    expect(() => device.ioctl('VFIO_DEVICE_BIND_IOMMUFD', address)).toThrow(errno('EFAULT'))
    expect(() => device.ioctl('VFIO_DEVICE_GET_INFO', 0n)).toThrow(errno('EINVAL'))
    process.protect(address, 4096n, { read: true, write: true })
    device.ioctl('VFIO_DEVICE_BIND_IOMMUFD', address)
  })

  it('keeps its iommufd when that is closed', () => {
    using host = machine()
    const process = host.process()
    const iommufd = process.open('/dev/iommu')
    const device = process.open(`/dev/vfio/devices/vfio1`)
    device.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bindTo(iommufd.fd))
    const ioas = allocIoas(iommufd)
    device.ioctl('VFIO_DEVICE_ATTACH_IOMMUFD_PT', attachTo(ioas))
    iommufd.close()
    device.ioctl('VFIO_DEVICE_ATTACH_IOMMUFD_PT', attachTo(ioas))
    expect(host.mdev.get(UUID)).toBeDefined()
  })
})

describe('a device without isolation', () => {
  it('has a file that says so, for those who may', () => {
    using host = new SoftwareHost({ iommu: false, noiommu: true })
    host.pci.add('0000:00:03.0', new Edu(), { driver: 'vfio-pci' })
    const path = '/dev/vfio/devices/noiommu-vfio0'
    expect(host.dev.exists(path)).toBe(true)
    expect(() => host.process({ dropCapabilities: ['CAP_SYS_RAWIO'] }).open(path)).toThrow(errno('EPERM'))
    const process = host.process()
    const iommufd = process.open('/dev/iommu')
    const device = process.open(path)
    const ioas = allocIoas(iommufd)
    const { address } = ramOf(process)
    mapAt(iommufd, ioas, address, 0x4000n, 0x10000n)
    const ask = () => {
      const bytes = iommuIoasNoiommuGetPa.bytes({ size: 40, ioasId: ioas, iova: 0x11000n, length: 0x10000n })
      iommufd.ioctl('IOMMU_IOAS_NOIOMMU_GET_PA', bytes)
      return iommuIoasNoiommuGetPa.decode(bytes)
    }
    expect(ask).toThrow(errno('EOPNOTSUPP'))
    device.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bindTo(iommufd.fd))
    device.ioctl('VFIO_DEVICE_ATTACH_IOMMUFD_PT', attachTo(ioas))
    expect(ask()).toMatchObject({ length: 0x3000n, outPhys: expect.any(BigInt) })
  })
})
