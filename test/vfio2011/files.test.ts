/** The files of 2011 as a program written to that header uses them: its numbers, its structures, its argsz. */
import fc from 'fast-check'
import { EventFd, HostMemory, type FileHandle, type HostProcess } from 'vfio'
import {
  IOCTL,
  ioctlNumber,
  VFIO_DMA_MAP_FLAG_MAP,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_GROUP_FLAGS_MM_LOCKED,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_IRQ_INFO_FLAG_LEVEL,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_RO,
  vfioDeviceInfo,
  vfioDmaMap,
  vfioGroupInfo,
  vfioIommuInfo,
  vfioIrqEventfds,
  vfioIrqInfo,
  vfioRegionInfo,
  vfioUnmaskIrq,
} from 'vfio/2011'
import { describe, expect, it } from 'vitest'
import { outcome } from '../outcome.ts'
import { EDU, machine, OTHER } from './machine.ts'

const fdBytes = (fd: number): Uint8Array => new Uint8Array(Int32Array.of(fd).buffer)

function start(...bound: readonly string[]) {
  const made = machine(...bound)
  const process = made.host.process()
  const groups = bound.map((name) => process.open(`/dev/vfio/${made.groupOf(name)}`))
  return { ...made, process, groups, [Symbol.dispose]: () => made[Symbol.dispose]() }
}

function one(process: HostProcess, group: FileHandle | undefined, request: number, argument: string | bigint = 0n) {
  if (group === undefined) throw new Error('there is no such group')
  return process.file(group.ioctl(request, argument))
}

describe('a program of 2011', () => {
  it('merges groups, maps, opens devices, is interrupted, and parts', () => {
    using made = start(EDU, OTHER)
    const { process, groups } = made
    const [first, second] = groups as [FileHandle, FileHandle]
    const info = vfioGroupInfo.bytes({ argsz: 8 })
    first.ioctl(IOCTL.VFIO_GROUP_GET_INFO, info)
    expect(vfioGroupInfo.decode(info)).toEqual({ argsz: 8, flags: VFIO_GROUP_FLAGS_VIABLE })
    expect(first.ioctl(IOCTL.VFIO_GROUP_MERGE, fdBytes(second.fd))).toBe(0)
    const iommu = one(process, second, IOCTL.VFIO_GROUP_GET_IOMMU_FD)
    first.ioctl(IOCTL.VFIO_GROUP_GET_INFO, info)
    expect(vfioGroupInfo.decode(info).flags).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_MM_LOCKED)

    const reach = vfioIommuInfo.bytes({ argsz: 32, flags: 0xffff_ffff })
    iommu.ioctl(IOCTL.VFIO_IOMMU_GET_INFO, reach)
    expect(vfioIommuInfo.decode(reach)).toEqual({
      argsz: 32,
      flags: 0,
      iovaMax: (1n << 48n) - 1n,
      iovaMin: 0n,
      alignment: 4096n,
    })
    using memory = HostMemory.allocate(8192)
    const map = { argsz: 32, vaddr: process.map(memory), iova: 0x1000n, size: 8192n }
    const both = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE
    iommu.ioctl(IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...map, flags: VFIO_DMA_MAP_FLAG_MAP | both }))
    expect(process.lockedVm).toBe(2n)

    const device = one(process, first, IOCTL.VFIO_GROUP_GET_DEVICE_FD, EDU)
    const about = vfioDeviceInfo.bytes({ argsz: 16 })
    device.ioctl(IOCTL.VFIO_DEVICE_GET_INFO, about)
    expect(vfioDeviceInfo.decode(about)).toEqual({ argsz: 16, flags: 0, numRegions: 9, numIrqs: 5 })
    const region = vfioRegionInfo.bytes({ argsz: 32, index: 0 })
    device.ioctl(IOCTL.VFIO_DEVICE_GET_REGION_INFO, region)
    expect(vfioRegionInfo.decode(region)).toMatchObject({ flags: VFIO_REGION_INFO_FLAG_MMAP, size: 1n << 20n })
    const irq = vfioIrqInfo.bytes({ argsz: 16, index: 0 })
    device.ioctl(IOCTL.VFIO_DEVICE_GET_IRQ_INFO, irq)
    expect(vfioIrqInfo.decode(irq)).toMatchObject({ flags: VFIO_IRQ_INFO_FLAG_LEVEL, count: 1 })

    device.write(Uint8Array.of(6, 0), (7n << 40n) + 4n)
    const event = process.eventfd()
    const events = new Uint8Array(20)
    events.set(vfioIrqEventfds.bytes({ argsz: 20, index: 0, count: 1 }))
    events.set(fdBytes(event.fd), 16)
    device.ioctl(IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events)
    const counter = new Uint8Array(8)
    device.write(Uint8Array.of(1, 0, 0, 0), 0x60n)
    expect([event.read(counter), counter[0]]).toEqual([8, 1])
    expect(outcome(() => event.read(counter))).toBe('EAGAIN')
    device.ioctl(IOCTL.VFIO_DEVICE_UNMASK_IRQ, vfioUnmaskIrq.bytes({ argsz: 16 }))
    expect([event.read(counter), counter[0]]).toEqual([8, 1])
    const again = process.eventfd()
    events.set(fdBytes(again.fd), 16)
    device.ioctl(IOCTL.VFIO_DEVICE_SET_UNMASK_IRQ_EVENTFD, events)
    again.write(new Uint8Array(BigUint64Array.of(1n).buffer))
    expect([event.read(counter), counter[0]]).toEqual([8, 1])
    expect(outcome(() => device.ioctl(IOCTL.VFIO_DEVICE_RESET))).toBe('EINVAL')

    expect(outcome(() => first.ioctl(IOCTL.VFIO_GROUP_UNMERGE))).toBe('EBUSY')
    device.close()
    expect(first.ioctl(IOCTL.VFIO_GROUP_UNMERGE)).toBe(0)
    iommu.ioctl(IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...map, flags: 0 }))
    expect(process.lockedVm).toBe(0n)
    process.exit()
  })

  it('is refused what that header’s rules refuse', () => {
    using made = start(EDU, OTHER)
    const { process, groups } = made
    const [group, other] = groups as [FileHandle, FileHandle]
    const iommu = one(process, group, IOCTL.VFIO_GROUP_GET_IOMMU_FD)
    const device = one(process, group, IOCTL.VFIO_GROUP_GET_DEVICE_FD, EDU)
    const eventfd = process.eventfd()
    const events = (argsz: number, count: number, fd: number, flags = 0, index = 0) => {
      const bytes = new Uint8Array(16 + 4 * Math.min(count, 4))
      bytes.set(vfioIrqEventfds.bytes({ argsz, flags, index, count }))
      if (bytes.length > 16) bytes.set(fdBytes(fd), 16)
      return bytes
    }
    const map = { argsz: 32, vaddr: 0x1000n, iova: 0n, size: 4096n }
    const cases: [FileHandle, number, Uint8Array | bigint | string, string][] = [
      // A short argsz, memory that is not there, numbers of no meaning.
      [group, IOCTL.VFIO_GROUP_GET_INFO, vfioGroupInfo.bytes({ argsz: 7 }), 'EINVAL'],
      [group, IOCTL.VFIO_GROUP_GET_INFO, 8n, 'EFAULT'],
      [group, 0x3b65, fdBytes(other.fd), 'ENOTTY'],
      [group, IOCTL.VFIO_IOMMU_GET_INFO, 0n, 'ENOTTY'],
      [iommu, IOCTL.VFIO_GROUP_GET_INFO, 0n, 'ENOTTY'],
      [device, IOCTL.VFIO_GROUP_GET_INFO, 0n, 'ENOTTY'],
      // Merging.
      [group, IOCTL.VFIO_GROUP_MERGE, 0n, 'EFAULT'],
      [group, IOCTL.VFIO_GROUP_MERGE, fdBytes(999), 'EBADF'],
      [group, IOCTL.VFIO_GROUP_MERGE, fdBytes(-1), 'EBADF'],
      [group, IOCTL.VFIO_GROUP_MERGE, fdBytes(eventfd.fd), 'EINVAL'],
      [group, IOCTL.VFIO_GROUP_MERGE, fdBytes(group.fd), 'EINVAL'],
      [other, IOCTL.VFIO_GROUP_MERGE, fdBytes(group.fd), 'EBUSY'],
      [group, IOCTL.VFIO_GROUP_UNMERGE, 0n, 'EINVAL'],
      [group, IOCTL.VFIO_GROUP_GET_DEVICE_FD, 0n, 'EFAULT'],
      [group, IOCTL.VFIO_GROUP_GET_DEVICE_FD, OTHER, 'ENODEV'],
      // The IOMMU.
      [iommu, IOCTL.VFIO_IOMMU_GET_INFO, vfioIommuInfo.bytes({ argsz: 31 }), 'EINVAL'],
      [iommu, IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...map, argsz: 31 }), 'EINVAL'],
      [iommu, IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...map, flags: 8 }), 'EINVAL'],
      [iommu, IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...map, flags: 1 }), 'EINVAL'],
      [iommu, IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...map, flags: 3 }), 'EFAULT'],
      [iommu, IOCTL.VFIO_IOMMU_MAP_DMA, vfioDmaMap.bytes({ ...map, flags: 0, size: 1n }), 'EINVAL'],
      // The device.
      [device, IOCTL.VFIO_DEVICE_GET_INFO, vfioDeviceInfo.bytes({ argsz: 15 }), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_GET_REGION_INFO, vfioRegionInfo.bytes({ argsz: 31 }), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_GET_REGION_INFO, vfioRegionInfo.bytes({ argsz: 32, index: 9 }), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_GET_IRQ_INFO, vfioIrqInfo.bytes({ argsz: 15 }), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(15, 1, -1), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(19, 1, -1), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(20, 1, -1, 1), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(24, 2, -1), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(0xffff_ffff, 0x3fff_ffff, -1), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(20, 1, 999), 'EBADF'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(20, 1, group.fd), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_SET_IRQ_EVENTFDS, events(20, 1, -1).subarray(0, 16), 'EFAULT'],
      [device, IOCTL.VFIO_DEVICE_UNMASK_IRQ, vfioUnmaskIrq.bytes({ argsz: 15 }), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_UNMASK_IRQ, vfioUnmaskIrq.bytes({ argsz: 16, flags: 1 }), 'EINVAL'],
      [device, IOCTL.VFIO_DEVICE_UNMASK_IRQ, vfioUnmaskIrq.bytes({ argsz: 16, subindex: 1 }), 'EINVAL'],
    ]
    for (const [file, request, argument, errno] of cases)
      expect([request.toString(16), outcome(() => file.ioctl(request, argument))]).toEqual([
        request.toString(16),
        errno,
      ])
    expect(outcome(() => group.read(new Uint8Array(4)))).toBe('EINVAL')
    expect(outcome(() => device.read(new Uint8Array(4), 1n << 63n))).toBe('EINVAL')
    expect(outcome(() => device.mmap({ offset: 1n, length: 4096n }))).toBe('EINVAL')
    device.mmap({ offset: 0n, length: 100n }).close()
  })

  it('knows the numbers of the header on both architectures', () => {
    expect([IOCTL.VFIO_GROUP_MERGE, IOCTL.VFIO_GROUP_GET_DEVICE_FD]).toEqual([0x40043b65, 0x40013b68])
    expect(ioctlNumber('VFIO_GROUP_MERGE', 'ppc64')).toBe(0x80043b65)
    expect(VFIO_REGION_INFO_FLAG_RO).toBe(2)
  })

  it('sends any bytes: every answer is an errno or a value, and nothing stays open', () => {
    using made = start(EDU, OTHER)
    const { process, groups, vfio, groupOf } = made
    const [group] = groups as [FileHandle]
    const files = () => [
      group,
      one(process, group, IOCTL.VFIO_GROUP_GET_IOMMU_FD),
      one(process, group, IOCTL.VFIO_GROUP_GET_DEVICE_FD, EDU),
    ]
    const word = fc.oneof(fc.constantFrom(0, 1, 3, 16, 20, 32, 0xffff_ffff), fc.integer({ min: 0, max: 0xffff_ffff }))
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 }),
        fc.constantFrom(...Object.values(IOCTL)),
        fc.array(word, { minLength: 0, maxLength: 10 }),
        (which, request, words) => {
          const open = files()
          const file = open[which]
          const answer = outcome(() => file?.ioctl(request, new Uint8Array(Uint32Array.from(words).buffer)))
          expect(typeof answer === 'number' || typeof answer === 'string').toBe(true)
          if (which === 0 && typeof answer === 'number' && answer > 2) process.file(answer).close()
          for (const extra of open.slice(1)) extra.close()
        },
      ),
      { numRuns: 300 },
    )
    process.exit()
    using fresh = vfio.openGroup(groupOf(EDU))
    expect(fresh.info()).toEqual({ viable: true, mmLocked: false })
    using event = EventFd.create()
    expect(event.read()).toBeUndefined()
  })
})
