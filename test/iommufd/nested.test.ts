/** Page tables of guests on the software IOMMU: a device goes through the guest's table, then through its parent. */
import { describe, expect, it } from 'vitest'
import {
  type CdevDevice,
  HostMemory,
  type Hwpt,
  type Ioas,
  type Iommufd,
  PciModel,
  SOFTWARE_IOMMU_TYPE,
  SoftwareHost,
} from '../../ts/index.ts'
import { iommuHwptAlloc, iommuHwptInvalidate, iommuHwInfo, vfioDeviceBindIommufd } from '../../ts/uapi/structs.ts'
import { allocIoas, EDU, errno, machine } from './machine.ts'

const GUEST = 1 << 20
const ROOT = 0x1000
const ADDRESS = '0000:00:05.0'
const READ = 1n
const WRITE = 2n
const NEST_PARENT = 1

/** A device whose model does DMA when it is asked to. */
class Probe extends PciModel {
  constructor() {
    super({ vendor: 0x1234, device: 1, bars: [{ index: 0, size: 16, kind: 'memory32' }] })
  }
}

/** A guest with memory at its address 0, an iommufd on it, and a device behind both. */
class Guest implements Disposable {
  readonly host = new SoftwareHost({ iommu: { model: 'software' } })
  readonly model = new Probe()
  readonly memory = HostMemory.allocate(GUEST)
  readonly view = new DataView(new ArrayBuffer(8))
  readonly iommufd: Iommufd
  readonly device: CdevDevice
  readonly ioas: Ioas
  readonly parent: Hwpt

  constructor() {
    this.host.pci.add(ADDRESS, this.model, { driver: 'vfio-pci' })
    this.iommufd = this.host.iommufd()
    this.device = this.iommufd.bind(ADDRESS)
    this.ioas = this.iommufd.allocIoas()
    this.ioas.map({ memory: this.memory, iova: 0 })
    this.parent = this.device.allocHwpt(this.ioas, { nestParent: true, dirtyTracking: true })
    // Bus mastering is the guest's to switch on.
    this.device.region(7).write(4n, new Uint8Array([6, 0]))
  }

  entry(table: number, index: number, value: bigint): void {
    this.view.setBigUint64(0, value, true)
    this.memory.write(table + index * 8, new Uint8Array(this.view.buffer))
  }

  /** Maps a page by tables at 0x2000 and 0x3000, three levels. */
  map(page: number, to: number, rights: bigint): void {
    this.entry(ROOT, 0, 0x2000n | READ | WRITE)
    this.entry(0x2000, 0, 0x3000n | READ | WRITE)
    this.entry(0x3000, page, BigInt(to) | rights)
  }

  read(iova: number, length: number): string {
    const into = new Uint8Array(length)
    this.model.dma.read(BigInt(iova), into)
    return Buffer.from(into).toString()
  }

  [Symbol.dispose](): void {
    this.device.close()
    this.iommufd.close()
    this.host.close()
  }
}

describe('a page table of a guest', () => {
  it('is walked for the DMA of a device, and what it leads to is looked up in its parent', () => {
    using guest = new Guest()
    const nested = guest.device.allocNestedHwpt(guest.parent, { root: ROOT, levels: 3 })
    expect(guest.device.attach(nested)).toBe(nested.id)
    guest.map(5, 0x8000, READ)
    guest.map(6, 0xa000, READ | WRITE)
    guest.memory.write(0x8ffd, Buffer.from('abc'))
    guest.memory.write(0xa000, Buffer.from('def'))
    expect(guest.read(0x5ffd, 6)).toBe('abcdef')
    guest.model.dma.write(0x6000n, Buffer.from('xyz'))
    expect(Buffer.from(guest.memory.read(0xa000, 3)).toString()).toBe('xyz')
    expect(() => guest.model.dma.write(0x5000n, Buffer.from('x'))).toThrow(errno('EFAULT'))
    expect(guest.iommufd.faults.records().at(-1)).toMatchObject({ iova: 0x5000n, reason: 'permission' })
    expect(() => guest.read(0x7000, 1)).toThrow(errno('EFAULT'))
    // The parent tells which pages of the guest were written.
    guest.parent.setDirtyTracking(true)
    guest.model.dma.write(0x6000n, Buffer.from('!'))
    const dirty = guest.parent.dirtyBitmap({ iova: 0, length: 64 * 4096 })
    expect([...dirty]).toEqual([0, 0b100, 0, 0, 0, 0, 0, 0])
  })

  it('counts as it was until it is invalidated', () => {
    using guest = new Guest()
    const nested = guest.device.allocNestedHwpt(guest.parent, { root: ROOT, levels: 3 })
    guest.device.attach(nested)
    guest.map(5, 0x8000, READ)
    guest.memory.write(0x8000, Buffer.from('old'))
    guest.memory.write(0x9000, Buffer.from('new'))
    expect(guest.read(0x5000, 3)).toBe('old')
    guest.map(5, 0x9000, READ)
    expect(guest.read(0x5000, 3)).toBe('old')
    nested.invalidate({ iova: 0x5000, length: 4096 })
    expect(guest.read(0x5000, 3)).toBe('new')
    guest.map(5, 0, 0n)
    nested.invalidate()
    expect(() => guest.read(0x5000, 3)).toThrow(errno('EFAULT'))
    expect(() => nested.invalidate({ iova: 1, length: 4096 })).toThrow(errno('EINVAL'))
    expect(() => nested.invalidate({ iova: 0, length: 1 })).toThrow(errno('EINVAL'))
  })

  it('refuses tables that are not sound, and says so', () => {
    using guest = new Guest()
    const nested = guest.device.allocNestedHwpt(guest.parent, { root: ROOT, levels: 3 })
    guest.device.attach(nested)
    guest.map(5, 0x4000_0000, READ)
    expect(() => guest.read(0x5000, 1)).toThrow(errno('EFAULT'))
    expect(guest.iommufd.faults.records().at(-1)).toMatchObject({ reason: 'unbacked' })
    guest.map(5, 0x8000, READ | (1n << 63n))
    nested.invalidate()
    expect(() => guest.read(0x5000, 1)).toThrow(errno('EFAULT'))
    expect(guest.iommufd.faults.records().at(-1)).toMatchObject({ reason: 'broken-table' })
    expect(() => guest.device.allocNestedHwpt(guest.parent, { root: 1 })).toThrow(errno('EINVAL'))
    expect(() => guest.device.allocNestedHwpt(guest.parent, { root: 0, levels: 6 })).toThrow(errno('EINVAL'))
    const other = guest.device.allocHwpt(guest.ioas)
    expect(() => guest.device.allocNestedHwpt(other, { root: 0 })).toThrow(errno('EINVAL'))
  })

  it('keeps its parent, and is kept by its device', () => {
    using guest = new Guest()
    const nested = guest.device.allocNestedHwpt(guest.parent, { root: ROOT })
    guest.device.attach(nested)
    expect(() => guest.parent.destroy()).toThrow(errno('EBUSY'))
    expect(() => nested.destroy()).toThrow(errno('EBUSY'))
    guest.device.attach(guest.parent)
    nested.destroy()
    expect(nested.id).toBe(0)
    expect(() => nested.invalidate()).toThrow(errno('EBADF'))
    expect(() => guest.parent.destroy()).toThrow(errno('EBUSY'))
    guest.device.detach()
    guest.parent.destroy()
  })

  it('is not to be had where the IOMMU is an Intel VT-d', () => {
    using host = machine()
    using iommufd = host.iommufd()
    using device = iommufd.bind(EDU)
    const ioas = iommufd.allocIoas()
    expect(() => device.allocHwpt(ioas, { nestParent: true })).toThrow(errno('EOPNOTSUPP'))
    const plain = device.allocHwpt(ioas)
    expect(() => device.allocNestedHwpt(plain, { root: 0 })).toThrow(errno('EOPNOTSUPP'))
    expect(device.hardwareInfo().type).toBe(1)
  })
})

describe('the same by ioctls', () => {
  it('tells what the hardware is', () => {
    using guest = new Guest()
    const { type, data, capabilities } = guest.device.hardwareInfo()
    expect([type, capabilities & 1n]).toEqual([SOFTWARE_IOMMU_TYPE, 1n])
    expect(new DataView(data.buffer).getBigUint64(8, true)).toBe(0x4020_1000n)
  })

  it('takes the format as data and entries of invalidations one after the other', () => {
    using host = new SoftwareHost({ iommu: { model: 'software' } })
    host.pci.add(ADDRESS, new Probe(), { driver: 'vfio-pci' })
    const user = host.process()
    const iommufd = user.open('/dev/iommu')
    const cdev = user.open('/dev/vfio/devices/vfio0')
    const bind = vfioDeviceBindIommufd.bytes({ argsz: vfioDeviceBindIommufd.size, iommufd: iommufd.fd })
    cdev.ioctl('VFIO_DEVICE_BIND_IOMMUFD', bind)
    const devId = vfioDeviceBindIommufd.decode(bind).outDevid
    const ioasId = allocIoas(iommufd)
    const scratch = HostMemory.allocate(4096)
    const at = user.map(scratch)
    const put = (offset: number, ...words: bigint[]) =>
      scratch.write(offset, new Uint8Array(BigUint64Array.from(words).buffer))

    const info = iommuHwInfo.bytes({ size: iommuHwInfo.size, devId, dataLen: 16, dataUptr: at })
    iommufd.ioctl('IOMMU_GET_HW_INFO', info)
    expect(iommuHwInfo.decode(info)).toMatchObject({ outDataType: SOFTWARE_IOMMU_TYPE, dataLen: 16 })

    const alloc = (fields: Partial<Parameters<typeof iommuHwptAlloc.bytes>[0]>) => {
      const bytes = iommuHwptAlloc.bytes({ size: iommuHwptAlloc.size, devId, ...fields })
      iommufd.ioctl('IOMMU_HWPT_ALLOC', bytes)
      return iommuHwptAlloc.decode(bytes).outHwptId
    }
    const parent = alloc({ ptId: ioasId, flags: NEST_PARENT })
    const plain = alloc({ ptId: ioasId })
    const data = { dataType: SOFTWARE_IOMMU_TYPE, dataLen: 16, dataUptr: at }
    put(0, 0x1000n, 3n)
    const nested = alloc({ ptId: parent, ...data })
    expect(nested).toBeGreaterThan(0)
    expect(() => alloc({ ptId: plain, ...data })).toThrow(errno('EINVAL'))
    expect(() => alloc({ ptId: parent })).toThrow(errno('EOPNOTSUPP'))
    expect(() => alloc({ ptId: parent, ...data, flags: NEST_PARENT })).toThrow(errno('EOPNOTSUPP'))
    expect(() => alloc({ ptId: parent, ...data, dataType: 1 })).toThrow(errno('EOPNOTSUPP'))
    expect(() => alloc({ ptId: parent, ...data, dataLen: 15 })).toThrow(errno('EINVAL'))
    expect(() => alloc({ ptId: parent, ...data, dataUptr: 0x10n })).toThrow(errno('EFAULT'))
    put(0, 0x1000n, 3n, 7n)
    expect(() => alloc({ ptId: parent, ...data, dataLen: 24 })).toThrow(errno('E2BIG'))
    put(0, 0x1000n, 3n | (2n << 32n))
    expect(() => alloc({ ptId: parent, ...data })).toThrow(errno('EOPNOTSUPP'))

    /** Invalidates by the entries in the scratch page; gives the errno and how many were handled. */
    const invalidate = (fields: Partial<Parameters<typeof iommuHwptInvalidate.bytes>[0]>) => {
      const bytes = iommuHwptInvalidate.bytes({
        size: iommuHwptInvalidate.size,
        hwptId: nested,
        dataType: SOFTWARE_IOMMU_TYPE,
        dataUptr: at,
        entryLen: 24,
        entryNum: 2,
        ...fields,
      })
      let code = ''
      try {
        iommufd.ioctl('IOMMU_HWPT_INVALIDATE', bytes)
      } catch (error) {
        code = (error as { code: string }).code
      }
      return [code, iommuHwptInvalidate.decode(bytes).entryNum]
    }
    put(0, 0x1000n, 1n, 0n, 0x2000n, 1n, 0n)
    expect(invalidate({})).toEqual(['', 2])
    expect(invalidate({ entryNum: 0 })).toEqual(['', 0])
    expect(invalidate({ dataType: 0 })).toEqual(['EINVAL', 0])
    expect(invalidate({ entryLen: 16 })).toEqual(['EINVAL', 0])
    expect(invalidate({ hwptId: parent })).toEqual(['EINVAL', 0])
    expect(invalidate({ hwptId: 77 })).toEqual(['ENOENT', 0])
    put(24, 0x2001n, 1n, 0n)
    expect(invalidate({})).toEqual(['EINVAL', 1])
    put(24, 0x2000n, 1n, 1n)
    expect(invalidate({})).toEqual(['EOPNOTSUPP', 1])
    expect(invalidate({ dataUptr: at + 4096n - 24n })).toEqual(['EFAULT', 1])
    put(0, 0x1000n, 1n, 0n, 5n)
    expect(invalidate({ entryLen: 32, entryNum: 1 })).toEqual(['E2BIG', 0])
  })
})
