import { describe, expect, it } from 'vitest'
import { HostMemory, type CdevDevice, PciModel, SoftwareHost } from '../../ts/index.ts'
import {
  IOMMU_HW_INFO_TYPE_SOFTWARE,
  IOMMU_HW_QUEUE_TYPE_SOFTWARE,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_DATA_SOFTWARE,
  IOMMU_HWPT_INVALIDATE_DATA_SOFTWARE,
  IOMMU_VEVENTQ_TYPE_SOFTWARE,
  IOMMU_VIOMMU_SOFTWARE_INVALIDATE_PAGES,
  IOMMU_VIOMMU_SOFTWARE_SYNC,
  IOMMU_VIOMMU_TYPE_SOFTWARE,
} from '../../ts/uapi/constants.ts'
import {
  iommuHwptAlloc,
  iommuHwptInvalidate,
  iommuHwptInvalidateSoftware,
  iommuHwptSoftware,
  iommuHwQueueAlloc,
  iommuVdeviceAlloc,
  iommuVeventqAlloc,
  iommuVeventSoftware,
  iommuViommuAlloc,
  iommuViommuSoftware,
  iommuViommuSoftwareCommand,
  vfioDeviceAttachIommufdPt,
  vfioDeviceBindIommufd,
} from '../../ts/uapi/structs.ts'
import { allocIoas, destroy, errno, mapAt } from './machine.ts'

const NAME = '0000:00:05.0'
const RW = 3n
const ROOT = 0x1_0000n

class Model extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 0x5678, bars: [{ index: 0, size: 4096, kind: 'memory32' }] })
  }
}

function software(options: { dirtyTracking?: boolean; pasidWidth?: number } = {}) {
  const host = new SoftwareHost({ iommu: { kind: 'software', ...options } })
  const model = new Model()
  host.pci.add(NAME, model, { driver: 'vfio-pci' })
  return { host, model }
}

/** Bus mastering on. */
function master(device: CdevDevice): void {
  device.region(7).writeU16(4n, 0x6)
}

/** Puts a table of three levels at ROOT; returns where the entries of the lowest 2 MiB lie. */
function tables(ram: HostMemory): number {
  ram.writeU64(Number(ROOT), (ROOT + 0x1000n) | RW)
  ram.writeU64(Number(ROOT) + 0x1000, (ROOT + 0x2000n) | RW)
  return Number(ROOT) + 0x2000
}

describe('the software IOMMU', () => {
  it('tells what it is, and tracks the pages that devices write', () => {
    const { host, model } = software({ pasidWidth: 8 })
    using _host = host
    using iommufd = host.iommufd()
    using device = iommufd.bind(NAME)
    expect(device.hwInfo()).toMatchObject({ type: IOMMU_HW_INFO_TYPE_SOFTWARE, dirtyTracking: true, pasidWidth: 8 })
    master(device)
    const ioas = iommufd.allocIoas()
    using ram = HostMemory.allocate(1 << 20)
    ioas.map({ memory: ram, iova: 0 })
    const hwpt = device.allocHwpt(ioas, { dirtyTracking: true })
    device.attach(hwpt)
    hwpt.setDirtyTracking(true)
    model.dma.writeU8(0x3000, 1)
    expect([...hwpt.dirtyBitmap({ iova: 0, length: 0x8000 })][0]).toBe(8)
  })

  it('tracks nothing where it is told so', () => {
    const { host } = software({ dirtyTracking: false })
    using _host = host
    using iommufd = host.iommufd()
    using device = iommufd.bind(NAME)
    expect(() => device.allocHwpt(iommufd.allocIoas(), { dirtyTracking: true })).toThrow(errno('EOPNOTSUPP'))
  })

  it("walks a guest's page table, and remembers until it is told to forget", () => {
    const { host, model } = software()
    using _host = host
    using iommufd = host.iommufd()
    using device = iommufd.bind(NAME)
    master(device)
    const ioas = iommufd.allocIoas()
    using ram = HostMemory.allocate(1 << 20)
    ioas.map({ memory: ram, iova: 0 })
    const parent = device.allocHwpt(ioas, { nestParent: true, dirtyTracking: true })
    const leaves = tables(ram)
    ram.writeU64(leaves, 0x4000n | RW)
    const nested = device.allocNestedHwpt(parent, { root: ROOT, levels: 3, accessedDirty: true })
    expect(() => parent.destroy()).toThrow(errno('EBUSY'))
    device.attach(nested)
    model.dma.writeU32(0x10, 77)
    expect(ram.readU32(0x4010)).toBe(77)
    expect(ram.readU64(leaves) & 0x60n).toBe(0x60n)
    ram.writeU64(leaves, 0x5000n | RW)
    model.dma.writeU32(0x10, 78)
    expect(ram.readU32(0x4010)).toBe(78)
    nested.invalidate({ iova: 0, length: 0x1000 })
    model.dma.writeU32(0x10, 79)
    expect(ram.readU32(0x5010)).toBe(79)
    expect(() => model.dma.readU8(0x1000)).toThrow(errno('EFAULT'))
    device.detach()
    nested.destroy()
    parent.destroy()
  })

  it('refuses a parent that was not made to be one, and tables that cannot be', () => {
    const { host } = software()
    using _host = host
    using iommufd = host.iommufd()
    using device = iommufd.bind(NAME)
    const ioas = iommufd.allocIoas()
    const plain = device.allocHwpt(ioas)
    const parent = device.allocHwpt(ioas, { nestParent: true })
    expect(() => device.allocNestedHwpt(plain, { root: 0 })).toThrow(errno('EINVAL'))
    expect(() => device.allocNestedHwpt(parent, { root: 1 })).toThrow(errno('EINVAL'))
    expect(() => device.allocNestedHwpt(parent, { root: 0, levels: 9 })).toThrow(errno('EINVAL'))
  })
})

describe('page requests', () => {
  it('are read and answered, and the access goes on', async () => {
    const { host, model } = software()
    using _host = host
    using iommufd = host.iommufd()
    using device = iommufd.bind(NAME)
    master(device)
    const ioas = iommufd.allocIoas()
    const faults = iommufd.allocFaultQueue()
    device.attach(device.allocHwpt(ioas, { faults }))
    expect(() => faults.destroy()).toThrow(errno('EBUSY'))
    using ram = HostMemory.allocate(0x4000)
    ram.writeU32(0, 42)
    const reading = model.dma.readAsync(0x10_0000, 0x2000)
    const [group] = await faults.wait()
    expect(group).toMatchObject({ deviceId: device.id, read: true, write: false, pages: [0x10_0000n, 0x10_1000n] })
    ioas.map({ memory: ram, iova: 0x10_0000 })
    expect(() => faults.respond(99, 'success')).toThrow(errno('EINVAL'))
    faults.respond(group?.cookie ?? 0, 'success')
    expect((await reading)[0]).toBe(42)
    expect(() => faults.respond(group?.cookie ?? 0, 'success')).toThrow(errno('EINVAL'))
  })

  it('fail the access where the answer is no, or the device is detached', async () => {
    const { host, model } = software()
    using _host = host
    using iommufd = host.iommufd()
    using device = iommufd.bind(NAME)
    master(device)
    const faults = iommufd.allocFaultQueue()
    const hwpt = device.allocHwpt(iommufd.allocIoas(), { faults })
    device.attach(hwpt)
    expect(() => model.dma.writeU8(0, 1)).toThrow(errno('EAGAIN'))
    const writing = model.dma.writeAsync(0, Uint8Array.of(1))
    const groups = await faults.wait()
    expect(groups).toHaveLength(1)
    expect(groups[0]).toMatchObject({ write: true, pages: [0n] })
    faults.respond(groups[0]?.cookie ?? 0, 'invalid')
    await expect(writing).rejects.toThrow(errno('EFAULT'))
    const unread = model.dma.readAsync(0x5000, 1)
    const read = model.dma.readAsync(0x6000, 1)
    expect(faults.read()).toHaveLength(2)
    device.detach()
    await expect(unread).rejects.toThrow(errno('EFAULT'))
    await expect(read).rejects.toThrow(errno('EFAULT'))
    hwpt.destroy()
    faults.destroy()
  })
})

describe('PASIDs', () => {
  it('lead where they were attached', () => {
    const { host, model } = software()
    using _host = host
    using iommufd = host.iommufd()
    using device = iommufd.bind(NAME)
    master(device)
    const [first, second] = [iommufd.allocIoas(), iommufd.allocIoas()]
    using one = HostMemory.allocate(0x1000)
    using two = HostMemory.allocate(0x1000)
    first.map({ memory: one, iova: 0 })
    second.map({ memory: two, iova: 0 })
    const pasid = model.dma.withPasid?.(5)
    if (pasid === undefined) throw new Error('no PASIDs')
    expect(() => device.attach(second, { pasid: 5 })).toThrow(errno('EINVAL'))
    device.attach(device.allocHwpt(first, { pasid: true }))
    const hwpt = device.allocHwpt(second, { pasid: true })
    device.attach(hwpt, { pasid: 5 })
    model.dma.writeU8(0, 1)
    pasid.writeU8(0, 2)
    expect([one.readU8(0), two.readU8(0)]).toEqual([1, 2])
    expect(() => hwpt.destroy()).toThrow(errno('EBUSY'))
    device.detach({ pasid: 5 })
    expect(() => pasid.writeU8(0, 3)).toThrow(errno('ENODEV'))
    expect(() => device.attach(hwpt, { pasid: 1 << 20 })).toThrow(errno('EINVAL'))
    hwpt.destroy()
  })
})

describe('virtual IOMMUs, byte by byte', () => {
  function guest() {
    const { host, model } = software()
    const process = host.process()
    const file = process.open('/dev/iommu')
    const cdev = process.open('/dev/vfio/devices/vfio0')
    const bind = vfioDeviceBindIommufd.bytes({ argsz: vfioDeviceBindIommufd.size, iommufd: file.fd })
    cdev.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bind)
    const devId = vfioDeviceBindIommufd.decode(bind).outDevid
    const ioas = allocIoas(file)
    const ram = HostMemory.allocate(1 << 20)
    const address = process.map(ram)
    mapAt(file, ioas, address, 1n << 20n, 0n)
    const scratch = HostMemory.allocate(4096)
    const at = process.map(scratch)
    const alloc = iommuHwptAlloc.bytes({
      size: iommuHwptAlloc.size,
      devId,
      ptId: ioas,
      flags: IOMMU_HWPT_ALLOC_NEST_PARENT,
    })
    file.ioctl('IOMMU_HWPT_ALLOC', alloc)
    const parent = iommuHwptAlloc.decode(alloc).outHwptId
    process.writeMemory(at, iommuViommuSoftware.bytes({}))
    const made = iommuViommuAlloc.bytes({
      size: iommuViommuAlloc.size,
      type: IOMMU_VIOMMU_TYPE_SOFTWARE,
      devId,
      hwptId: parent,
      dataLen: iommuViommuSoftware.size,
      dataUptr: at,
    })
    file.ioctl('IOMMU_VIOMMU_ALLOC', made)
    const viommu = iommuViommuAlloc.decode(made).outViommuId
    const bytes = process.readMemory(at, iommuViommuSoftware.size)
    const { outMmapOffset, outMmapLength } = iommuViommuSoftware.decode(bytes)
    const leaves = tables(ram)
    process.writeMemory(at, iommuHwptSoftware.bytes({ root: ROOT, levels: 3 }))
    const nest = iommuHwptAlloc.bytes({
      size: iommuHwptAlloc.size,
      devId,
      ptId: viommu,
      dataType: IOMMU_HWPT_DATA_SOFTWARE,
      dataLen: iommuHwptSoftware.size,
      dataUptr: at,
    })
    file.ioctl('IOMMU_HWPT_ALLOC', nest)
    const nested = iommuHwptAlloc.decode(nest).outHwptId
    cdev.write(Uint8Array.of(6, 0), (7n << 40n) + 4n)
    const attach = () =>
      cdev.ioctl('VFIO_DEVICE_ATTACH_IOMMUFD_PT', vfioDeviceAttachIommufdPt.bytes({ argsz: 12, ptId: nested }))
    const vdevice = (virtId: bigint) => {
      const argument = iommuVdeviceAlloc.bytes({ size: iommuVdeviceAlloc.size, viommuId: viommu, devId, virtId })
      file.ioctl('IOMMU_VDEVICE_ALLOC', argument)
      return iommuVdeviceAlloc.decode(argument).outVdeviceId
    }
    const mmap = { offset: outMmapOffset, length: outMmapLength }
    return { host, model, process, file, cdev, ram, at, viommu, nested, parent, leaves, attach, vdevice, mmap }
  }

  it('know their devices, and tell of refused DMA', () => {
    const { host, model, process, file, viommu, leaves, ram, attach, vdevice } = guest()
    using _host = host
    expect(attach).toThrow(errno('ENOENT'))
    const id = vdevice(0x99n)
    expect(() => vdevice(0x98n)).toThrow(errno('EEXIST'))
    expect(() => destroy(file, viommu)).toThrow(errno('EBUSY'))
    const queue = (veventqDepth: number) =>
      iommuVeventqAlloc.bytes({
        size: iommuVeventqAlloc.size,
        viommuId: viommu,
        type: IOMMU_VEVENTQ_TYPE_SOFTWARE,
        veventqDepth,
      })
    expect(() => file.ioctl('IOMMU_VEVENTQ_ALLOC', queue(0))).toThrow(errno('EINVAL'))
    const made = queue(1)
    file.ioctl('IOMMU_VEVENTQ_ALLOC', made)
    expect(() => file.ioctl('IOMMU_VEVENTQ_ALLOC', queue(1))).toThrow(errno('EEXIST'))
    const events = process.file(iommuVeventqAlloc.decode(made).outVeventqFd)
    attach()
    ram.writeU64(leaves, 0x4000n | RW)
    model.dma.writeU8(0, 1)
    expect(events.poll()).toBe(0)
    for (const page of [1, 2, 3]) expect(() => model.dma.readU8(page * 4096)).toThrow(errno('EFAULT'))
    expect(events.poll()).toBe(1)
    expect(() => events.read(new Uint8Array(8))).toThrow(errno('EINVAL'))
    const bytes = new Uint8Array(256)
    expect(events.read(bytes)).toBe(8 + iommuVeventSoftware.size + 8)
    expect(iommuVeventSoftware.decode(bytes.subarray(8, 40))).toMatchObject({ virtId: 0x99n, addr: 0x1000n, reason: 1 })
    expect([...new Uint32Array(bytes.buffer.slice(40, 48))]).toEqual([1, 2])
    expect(events.poll()).toBe(0)
    expect(id).toBeGreaterThan(0)
  })

  it('invalidate entry by entry, and say which was refused', () => {
    const { host, process, file, nested, at } = guest()
    using _host = host
    const { size } = iommuHwptInvalidateSoftware
    process.writeMemory(at, iommuHwptInvalidateSoftware.bytes({ addr: 0x1000n, npages: 1n }))
    process.writeMemory(at + BigInt(size), iommuHwptInvalidateSoftware.bytes({ addr: 1n, npages: 1n }))
    const request = (changes: object) =>
      iommuHwptInvalidate.bytes({
        size: iommuHwptInvalidate.size,
        hwptId: nested,
        dataUptr: at,
        dataType: IOMMU_HWPT_INVALIDATE_DATA_SOFTWARE,
        entryLen: size,
        entryNum: 2,
        ...changes,
      })
    const both = request({})
    expect(() => file.ioctl('IOMMU_HWPT_INVALIDATE', both)).toThrow(errno('EINVAL'))
    expect(iommuHwptInvalidate.decode(both).entryNum).toBe(1)
    const entry = process.readMemory(at + BigInt(size), size)
    expect(iommuHwptInvalidateSoftware.decode(entry).hwError).toBe(3)
    for (const bad of [{ entryNum: 1 << 20 }, { entryLen: 8192 }, { entryLen: 4 }, { dataType: 7 }, { dataUptr: 0n }]) {
      expect(() => file.ioctl('IOMMU_HWPT_INVALIDATE', request(bad))).toThrow(errno('EINVAL'))
    }
  })

  it("do the commands of a ring in the guest's memory", () => {
    const { host, model, file, viommu, leaves, ram, attach, vdevice, mmap } = guest()
    using _host = host
    vdevice(7n)
    attach()
    const alloc = (changes: object) =>
      iommuHwQueueAlloc.bytes({
        size: iommuHwQueueAlloc.size,
        viommuId: viommu,
        type: IOMMU_HW_QUEUE_TYPE_SOFTWARE,
        nestingParentIova: 0x8000n,
        length: 0x1000n,
        ...changes,
      })
    expect(() => file.ioctl('IOMMU_HW_QUEUE_ALLOC', alloc({ length: 96n }))).toThrow(errno('EINVAL'))
    expect(() => file.ioctl('IOMMU_HW_QUEUE_ALLOC', alloc({ nestingParentIova: 1n << 30n }))).toThrow(errno('ENOENT'))
    const made = alloc({})
    file.ioctl('IOMMU_HW_QUEUE_ALLOC', made)
    expect(() => file.ioctl('IOMMU_HW_QUEUE_ALLOC', alloc({}))).toThrow(errno('EEXIST'))
    ram.writeU64(leaves, 0x4000n | RW)
    model.dma.writeU8(0, 1)
    ram.writeU64(leaves, 0x5000n | RW)
    const put = (slot: number, command: object) =>
      ram.write(0x8000 + slot * 32, iommuViommuSoftwareCommand.bytes(command))
    put(0, { opcode: IOMMU_VIOMMU_SOFTWARE_INVALIDATE_PAGES, virtId: 7n, addr: 0n, count: 1n })
    put(1, { opcode: IOMMU_VIOMMU_SOFTWARE_SYNC, addr: 0x9000n, count: 0xabcdn })
    put(2, { opcode: 99 })
    const registers = file.mmap(mmap)
    registers.write(0n, 4, 3n)
    expect(ram.readU64(0x9000)).toBe(0xabcdn)
    expect([registers.read(4n, 4), registers.read(8n, 4)]).toEqual([2n, 1n])
    model.dma.writeU8(0, 9)
    expect(ram.readU8(0x5000)).toBe(9)
    put(2, { opcode: IOMMU_VIOMMU_SOFTWARE_SYNC, addr: 0x9000n, count: 1n })
    registers.write(8n, 4, 0n)
    expect(registers.read(4n, 4)).toBe(3n)
    registers.write(0n, 4, 0xffff_0000n)
    expect(registers.read(8n, 4)).toBe(5n)
    destroy(file, iommuHwQueueAlloc.decode(made).outHwQueueId)
    expect(registers.read(4n, 4)).toBe(0n)
  })
})
