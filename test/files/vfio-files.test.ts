import { describe, expect, it, vi } from 'vitest'
import type { DeviceFile } from '../../ts/files/device-file.ts'
import { EventFdFile } from '../../ts/files/eventfd-file.ts'
import { makePipe } from '../../ts/files/pipe-file.ts'
import { MemoryFile } from '../../ts/files/memory-file.ts'
import { checkIrqSet } from '../../ts/device/irq-set.ts'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { errnoOf, TestProcess } from '../parts/machine.ts'
import { NAME, s32, TestFiles, u32s } from './files.ts'

describe('a container file', () => {
  it('compares all 64 bits of an extension or a model', () => {
    const files = new TestFiles()
    expect(files.ioctl(files.container, 'VFIO_CHECK_EXTENSION', 1n)).toBe(1)
    expect(files.ioctl(files.container, 'VFIO_CHECK_EXTENSION', 0x1_0000_0001n)).toBe(0)
    files.ioctl(files.group, 'VFIO_GROUP_SET_CONTAINER', s32(files.container))
    expect(errnoOf(() => files.ioctl(files.container, 'VFIO_SET_IOMMU', 0x1_0000_0003n))).toBe('ENODEV')
    expect(errnoOf(() => files.ioctl(files.container, 'VFIO_SET_IOMMU', 0xffff_ffff_ffff_ffffn))).toBe('ENODEV')
  })

  it('hands unknown requests to the IOMMU, once there is one', () => {
    const files = new TestFiles()
    expect(errnoOf(() => files.ioctl(files.container, 0x1234))).toBe('EINVAL')
    files.start()
    expect(errnoOf(() => files.ioctl(files.container, 0x1234))).toBe('ENOTTY')
    expect(files.ioctl(files.container, 0x3b70)).toBe(7)
  })
})

describe('a group file', () => {
  it('tells its status', () => {
    const files = new TestFiles()
    const status = u32s(8, 0xffff_ffff)
    files.ioctl(files.group, 'VFIO_GROUP_GET_STATUS', status)
    expect(status).toEqual(u32s(8, 1))
    files.start()
    files.ioctl(files.group, 'VFIO_GROUP_GET_STATUS', status)
    expect(status).toEqual(u32s(8, 3))
    expect(errnoOf(() => files.ioctl(files.group, 'VFIO_GROUP_GET_STATUS', u32s(7, 0)))).toBe('EINVAL')
    expect(errnoOf(() => files.ioctl(files.group, 'VFIO_GROUP_GET_STATUS', u32s(8)))).toBe('EFAULT')
    expect(errnoOf(() => files.ioctl(files.group, 'VFIO_GROUP_GET_STATUS'))).toBe('EFAULT')
  })

  it('wants a container where it is put', () => {
    const files = new TestFiles()
    const set = (fd: number): string => errnoOf(() => files.ioctl(files.group, 'VFIO_GROUP_SET_CONTAINER', s32(fd)))
    expect(errnoOf(() => files.ioctl(files.group, 'VFIO_GROUP_SET_CONTAINER'))).toBe('EFAULT')
    expect(set(-1)).toBe('EBADF')
    expect(set(999)).toBe('EBADF')
    expect(set(files.group)).toBe('EBADFD')
    expect(set(files.process.install(new EventFdFile()))).toBe('EBADFD')
    expect(set(files.container)).toBe('ok')
    expect(set(files.group)).toBe('EINVAL')
    expect(set(999)).toBe('EBADF')
  })

  it('knows no request of other files', () => {
    const files = new TestFiles()
    expect(errnoOf(() => files.ioctl(files.group, 'VFIO_GET_API_VERSION'))).toBe('ENOTTY')
    expect(errnoOf(() => files.ioctl(files.group, 'VFIO_DEVICE_GET_INFO', new Uint8Array(24)))).toBe('ENOTTY')
  })

  it('closes the device again that it cannot give a descriptor for', () => {
    const files = new TestFiles()
    files.start()
    vi.spyOn(files.process, 'install').mockImplementation(() => {
      throw new Error('no descriptor left')
    })
    expect(() => files.ioctl(files.group, 'VFIO_GROUP_GET_DEVICE_FD', NAME)).toThrow('no descriptor left')
    expect(files.vfioDevice.openCount).toBe(1)
  })
})

describe('a device file', () => {
  it('reads and writes at its own position', () => {
    const files = new TestFiles()
    const file = files.process.file(files.start()) as DeviceFile
    expect(file.write(files.process, Uint8Array.of(1, 2, 3, 4), undefined)).toBe(4)
    const into = new Uint8Array(4)
    expect(file.read(files.process, into, 0n)).toBe(4)
    expect(into).toEqual(Uint8Array.of(1, 2, 3, 4))
    expect(file.read(files.process, into, undefined)).toBe(4)
    expect(into).toEqual(new Uint8Array(4))
  })

  it('has its regions 2^40 bytes apart, and nothing at negative positions', () => {
    const files = new TestFiles()
    const file = files.process.file(files.start()) as DeviceFile
    expect(errnoOf(() => file.read(files.process, new Uint8Array(1), 1n << 40n))).toBe('EINVAL')
    expect(file.read(files.process, new Uint8Array(0), 1n << 40n)).toBe(0)
    expect(errnoOf(() => file.read(files.process, new Uint8Array(1), -1n))).toBe('EINVAL')
    expect(errnoOf(() => file.read(files.process, new Uint8Array(1), 1n << 63n))).toBe('EINVAL')
    expect(
      errnoOf(() => file.mmap(files.process, 1n, 4096n, { read: true, write: true, execute: false, shared: true })),
    ).toBe('EINVAL')
    expect(
      errnoOf(() => file.mmap(files.process, 0n, 1n << 63n, { read: true, write: true, execute: false, shared: true })),
    ).toBe('ENOMEM')
  })

  it('puts a capability chain behind the info that has room for it', () => {
    const capability = { id: 3, version: 1, payload: Uint8Array.of(9) }
    const files = new TestFiles({
      getInfo: () => ({ flags: 2, numRegions: 1, numIrqs: 1, capabilities: [capability, { ...capability, id: 4 }] }),
      getRegionInfo: () => ({ flags: 7, size: 16n, offset: 0n, capabilities: [capability] }),
    })
    const device = files.start()
    const short = u32s(24, 0, 0, 0, 7, 7)
    files.ioctl(device, 'VFIO_DEVICE_GET_INFO', short)
    expect(short).toEqual(u32s(24 + 32, 0x82, 1, 1, 0, 0))
    const least = u32s(16, 0, 0, 0, 7, 7)
    files.ioctl(device, 'VFIO_DEVICE_GET_INFO', least)
    expect(least).toEqual(u32s(56, 0x82, 1, 1, 7, 7))
    const whole = new Uint8Array(56)
    whole.set(u32s(56))
    files.ioctl(device, 'VFIO_DEVICE_GET_INFO', whole)
    expect(whole).toEqual(
      Uint8Array.of(
        ...u32s(56, 0x82, 1, 1, 24, 0),
        3,
        0,
        1,
        0,
        40,
        0,
        0,
        0,
        9,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        4,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        9,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
      ),
    )
    const region = u32s(32, 0, 0, 5, 0, 0, 0, 0)
    files.ioctl(device, 'VFIO_DEVICE_GET_REGION_INFO', region)
    expect(region).toEqual(u32s(48, 0xf, 0, 0, 16, 0, 0, 0))
  })

  it('leaves cap_offset of a region without capabilities alone', () => {
    const files = new TestFiles()
    const region = u32s(32, 0xffff, 0, 5, 1, 1, 1, 1)
    files.ioctl(files.start(), 'VFIO_DEVICE_GET_REGION_INFO', region)
    expect(region).toEqual(u32s(32, 3, 0, 5, 16, 0, 0, 0))
  })

  it('looks events up when the driver reaches them', () => {
    const seen: string[] = []
    const files = new TestFiles({
      setIrqs: (request) => {
        const { eventfds } = checkIrqSet(request, 4, 1)
        for (let i = 0; i < (eventfds?.length ?? 0); i++) {
          if (eventfds?.fd(i) !== -1) eventfds?.get(i).signal()
          seen.push(eventfds?.fd(i) === -1 ? 'unset' : 'signalled')
        }
      },
    })
    const device = files.start()
    const event = new EventFdFile()
    const fd = files.process.install(event)
    const set = (...fds: number[]): string =>
      errnoOf(() =>
        files.ioctl(
          device,
          'VFIO_DEVICE_SET_IRQS',
          Uint8Array.of(...u32s(20 + fds.length * 4, 0x24, 0, 0, fds.length), ...s32(...fds)),
        ),
      )
    expect(set(fd, -1)).toBe('ok')
    expect(set(fd, 999)).toBe('EBADF')
    expect(set(files.container)).toBe('EINVAL')
    expect(set(fd, fd, fd, fd, fd)).toBe('EINVAL')
    expect(seen).toEqual(['signalled', 'unset', 'signalled'])
    const count = new Uint8Array(8)
    event.read(files.process, count, undefined)
    expect(count[0]).toBe(2)
  })

  it('copies no payload that is longer than argsz says, or than a kernel would', () => {
    const answers: string[] = []
    const files = new TestFiles({
      setIrqs: (request) =>
        void answers.push(
          errnoOf(() => request.bools()),
          errnoOf(() => request.eventfds()),
        ),
    })
    const device = files.start()
    files.ioctl(device, 'VFIO_DEVICE_SET_IRQS', u32s(20, 0x22, 0, 0, 1))
    files.ioctl(device, 'VFIO_DEVICE_SET_IRQS', u32s(0xffff_ffff, 0x22, 0, 0, 0xffff_0000))
    files.ioctl(device, 'VFIO_DEVICE_SET_IRQS', u32s(28, 0x22, 0, 0, 1))
    expect(answers).toEqual(['EINVAL', 'EINVAL', 'ENOMEM', 'EINVAL', 'EFAULT', 'EFAULT'])
  })

  it('lists what a hot reset reaches, and resets with the groups of all', () => {
    const reset = vi.fn<() => void>()
    const files = new TestFiles({
      hotReset: { affected: () => [{ group: 0, segment: 0, bus: 6, devfn: 0x68, bound: true }], reset },
    })
    const device = files.start()
    const none = u32s(12, 7, 7)
    expect(errnoOf(() => files.ioctl(device, 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO', none))).toBe('ENOSPC')
    expect(none).toEqual(u32s(12, 0, 1))
    const room = u32s(20, 0, 0, 0, 0)
    files.ioctl(device, 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO', room)
    expect(room).toEqual(Uint8Array.of(...u32s(20, 0, 1, 0), 0, 0, 6, 0x68))
    const hotReset = (...words: number[]): string =>
      errnoOf(() => files.ioctl(device, 'VFIO_DEVICE_PCI_HOT_RESET', u32s(...words)))
    expect(hotReset(12, 0, 0)).toBe('EINVAL')
    expect(hotReset(16, 1, 1, files.group)).toBe('EINVAL')
    expect(hotReset(20, 0, 2, files.group, files.group)).toBe('EINVAL')
    expect(hotReset(12, 0, 1)).toBe('EFAULT')
    expect(hotReset(16, 0, 1, 999)).toBe('EBADF')
    expect(hotReset(16, 0, 1, files.container)).toBe('EINVAL')
    expect(reset).not.toHaveBeenCalled()
    expect(hotReset(16, 0, 1, files.group)).toBe('ok')
    expect(reset).toHaveBeenCalledOnce()
  })

  it('is no character device', () => {
    const files = new TestFiles()
    const device = files.start()
    expect(errnoOf(() => files.ioctl(device, 'VFIO_DEVICE_BIND_IOMMUFD'))).toBe('EFAULT')
    expect(errnoOf(() => files.ioctl(device, 'VFIO_DEVICE_BIND_IOMMUFD', u32s(24, 0, 0, 0, 0, 0)))).toBe('EINVAL')
    expect(errnoOf(() => files.ioctl(device, 'VFIO_DEVICE_ATTACH_IOMMUFD_PT', u32s(16, 0, 0, 0)))).toBe('ENOTTY')
  })

  it('keeps the group open when that is closed first', () => {
    const files = new TestFiles()
    const device = files.start()
    files.process.remove(files.group)
    files.process.remove(files.container)
    expect(files.machine.driver.diary).not.toContain('release')
    files.process.remove(device)
    expect(files.machine.driver.diary).toContain('release')
  })
})

describe('other files', () => {
  it('an eventfd counts, non-blocking', () => {
    const process = new TestProcess()
    const file = new EventFdFile(3n)
    const eight = new Uint8Array(8)
    const word = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer)
    expect(file.poll()).toBe(5)
    expect(errnoOf(() => file.read(process, new Uint8Array(4), undefined))).toBe('EINVAL')
    expect(errnoOf(() => file.read(process, eight, 0n))).toBe('ESPIPE')
    expect(file.read(process, eight, undefined)).toBe(8)
    expect(eight[0]).toBe(3)
    expect(file.poll()).toBe(4)
    expect(errnoOf(() => file.read(process, eight, undefined))).toBe('EAGAIN')
    expect(errnoOf(() => file.write(process, word(0xffff_ffff_ffff_ffffn), undefined))).toBe('EINVAL')
    expect(file.write(process, word(0xffff_ffff_ffff_fffen), undefined)).toBe(8)
    expect(file.poll()).toBe(1)
    expect(errnoOf(() => file.write(process, word(1n), undefined))).toBe('EAGAIN')
    expect(file.write(process, word(0n), undefined)).toBe(8)
    const sink = file.event()
    file.release()
    sink.signal()
  })

  it('a pipe passes bytes on', () => {
    const process = new TestProcess()
    const { read, write } = makePipe()
    const into = new Uint8Array(4)
    expect(errnoOf(() => read.read?.(process, into, undefined))).toBe('EAGAIN')
    expect(write.write?.(process, Uint8Array.of(1, 2), undefined)).toBe(2)
    expect([read.poll?.(), write.poll?.()]).toEqual([1, 4])
    expect(read.read?.(process, into, undefined)).toBe(2)
    expect(errnoOf(() => read.write?.(process, into, undefined))).toBe('EBADF')
    write.release?.()
    expect(read.read?.(process, into, undefined)).toBe(0)
    read.release?.()
    expect(errnoOf(() => write.write?.(process, into, undefined))).toBe('EPIPE')
  })

  it('a memfd is its memory', () => {
    const process = new TestProcess()
    using memory = HostMemory.allocate(8192)
    const file = new MemoryFile(memory)
    expect(file.write(process, Uint8Array.of(1, 2, 3), undefined)).toBe(3)
    expect(memory.readU8(2)).toBe(3)
    const into = new Uint8Array(4)
    expect(file.read(process, into, 8190n)).toBe(2)
    expect(file.read(process, into, 8192n)).toBe(0)
    expect(errnoOf(() => file.write(process, into, 8192n))).toBe('EFBIG')
    const all = { read: true, write: true, execute: false, shared: true }
    const mapping = file.mmap(process, 4096n, 4096n, all)
    mapping.write(8n, 4, 0x0102_0304n)
    expect(memory.readU32(4104)).toBe(0x0102_0304)
    expect(mapping.read(8n, 2)).toBe(0x0304n)
    expect(errnoOf(() => mapping.read(4095n, 2))).toBe('EFAULT')
    expect(errnoOf(() => file.mmap(process, 8192n, 1n, all))).toBe('ENXIO')
  })
})
