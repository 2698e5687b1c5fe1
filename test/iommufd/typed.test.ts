import { describe, expect, it } from 'vitest'
import { HostMemory } from '../../ts/index.ts'
import { EDU, errno, machine, UUID } from './machine.ts'

const PAGE = 4096n

describe('an address space', () => {
  it('chooses addresses, and takes those that are asked for', () => {
    using host = machine()
    using iommufd = host.iommufd()
    const ioas = iommufd.allocIoas()
    using memory = HostMemory.allocate(1 << 16)
    expect(ioas.map({ memory, length: PAGE })).toBe(0x1000n)
    expect(ioas.map({ memory, offset: PAGE, length: PAGE, iova: 0x80000n })).toBe(0x80000n)
    expect(() => ioas.map({ memory, iova: 0x7f000n })).toThrow(errno('EEXIST'))
    expect(() => ioas.unmap({ iova: 0x80000n, length: 16n })).toThrow(errno('ENOENT'))
    expect(ioas.unmapAll()).toBe(2n * PAGE)
  })

  it('shares pages with a copy, which are pinned once', () => {
    using host = machine()
    using iommufd = host.iommufd()
    using device = iommufd.bind(EDU)
    const [first, second] = [iommufd.allocIoas(), iommufd.allocIoas()]
    using memory = HostMemory.allocate(1 << 16)
    device.attach(first)
    first.map({ memory, iova: 0x100000n })
    expect(host.defaultProcess.pinnedVm).toBe(16n)
    expect(second.copy({ from: first, iova: 0x100000n, length: PAGE, at: 0x5000n })).toBe(0x5000n)
    device.attach(second)
    expect(host.defaultProcess.pinnedVm).toBe(1n)
    expect(() => second.copy({ from: first, iova: 0n, length: PAGE })).toThrow(errno('ENOENT'))
  })

  it('is what a device reaches, until it is detached', () => {
    using host = machine()
    using iommufd = host.iommufd()
    using device = iommufd.bind(EDU)
    const ioas = iommufd.allocIoas()
    using memory = HostMemory.allocate(1 << 16)
    const id = device.attach(ioas)
    expect(id).not.toBe(ioas.id)
    expect(ioas.ranges()).toEqual({
      alignment: PAGE,
      usable: [
        { start: 0n, last: 0xfedf_ffffn },
        { start: 0xfef0_0000n, last: 0xffff_ffff_ffffn },
      ],
    })
    const iova = ioas.map({ memory, iova: 0x10000n })
    memory.writeU32(0, 0xcafe)
    const bar = device.region(0)
    device.region(7).writeU16(4n, 6)
    const copy = (from: bigint, to: bigint, command: bigint): void => {
      for (const [at, value] of [
        [0x80n, from],
        [0x88n, to],
        [0x90n, 4n],
        [0x98n, command],
      ] as const)
        bar.writeU64(at, value)
    }
    copy(iova, 0x40000n, 1n)
    copy(0x40000n, iova + 0x100n, 3n)
    expect(memory.readU32(0x100)).toBe(0xcafe)
    expect(() => ioas.destroy()).toThrow(errno('EBUSY'))
    device.detach()
    copy(0x40000n, iova + 0x200n, 3n)
    expect(memory.readU32(0x200)).toBe(0)
    expect(iommufd.faults.total).toBe(1n)
    ioas.destroy()
    expect(() => device.attach(ioas)).toThrow(errno('EBADF'))
  })

  it('refuses what is no memory, no space, no range', () => {
    using host = machine()
    using iommufd = host.iommufd()
    const ioas = iommufd.allocIoas()
    using memory = HostMemory.allocate(4096)
    expect(() => ioas.map({} as never)).toThrow(TypeError)
    expect(() => ioas.map({ memory, offset: 8192n })).toThrow(RangeError)
    expect(() => ioas.map({ memory, read: false, write: false })).toThrow(errno('EINVAL'))
    expect(() => ioas.allow([{ start: 5n, last: 5n }])).toThrow(errno('EINVAL'))
    expect(() => iommufd.bind('nothing')).toThrow(errno('ENOENT'))
    iommufd.close()
    expect(() => iommufd.allocIoas()).toThrow(errno('EBADF'))
  })
})

describe('a mediated device', () => {
  it('is attached to the address space itself', () => {
    using host = machine()
    using iommufd = host.iommufd()
    using device = iommufd.bind(UUID)
    const ioas = iommufd.allocIoas()
    expect(device.attach(ioas)).toBe(ioas.id)
    expect(ioas.ranges().alignment).toBe(PAGE)
    expect(() => device.allocHwpt(ioas)).toThrow(errno('ENOENT'))
    device.close()
    device.close()
    expect(ioas.ranges().alignment).toBe(1n)
    ioas.destroy()
  })
})

describe('a page table', () => {
  it('is made by hand, and refused what the IOMMU cannot do', () => {
    using host = machine()
    using iommufd = host.iommufd()
    using device = iommufd.bind('vfio0')
    const ioas = iommufd.allocIoas()
    const hwpt = device.allocHwpt(ioas)
    expect(device.attach(hwpt)).toBe(hwpt.id)
    expect(() => hwpt.destroy()).toThrow(errno('EBUSY'))
    expect(() => device.allocHwpt(ioas, { dirtyTracking: true })).toThrow(errno('EOPNOTSUPP'))
    expect(() => hwpt.setDirtyTracking(true)).toThrow(errno('EOPNOTSUPP'))
    device.detach()
    hwpt.destroy()
    expect(hwpt.id).toBe(0)
  })
})
