import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostMemory, isErrno } from '../../ts/index.ts'
import { IOMMU_TEST_OP_ACCESS_PAGES, IOMMU_TEST_OP_CREATE_ACCESS } from '../../ts/uapi/constants.ts'
import { IOCTL } from '../../ts/uapi/ioctl.ts'
import {
  iommuFaultAlloc,
  iommuHwptInvalidate,
  iommuIoasChangeProcess,
  iommuIoasMapFile,
  iommuIoasUnmap,
  iommuOption,
  iommuViommuAlloc,
  testAccessPages,
  testCreateAccess,
} from '../../ts/uapi/structs.ts'
import { allocIoas, destroy, errno, FIXED, machine, mapAt, ramOf, RW } from './machine.ts'

describe('commands', () => {
  it('may be longer than known if the rest is 0', () => {
    using host = machine()
    const file = host.process().open('/dev/iommu')
    const long = (last: number) => {
      const bytes = new Uint8Array(10000)
      new DataView(bytes.buffer).setUint32(0, bytes.byteLength, true)
      bytes[9999] = last
      return bytes
    }
    expect(file.ioctl('IOMMU_IOAS_ALLOC', long(0))).toBe(0)
    expect(() => file.ioctl('IOMMU_IOAS_ALLOC', long(1))).toThrow(errno('E2BIG'))
    const lying = new Uint8Array(16)
    new DataView(lying.buffer).setUint32(0, 0xffff_ffff, true)
    expect(() => file.ioctl('IOMMU_IOAS_ALLOC', lying)).toThrow(errno('EFAULT'))
  })

  it('give the lowest id that is free', () => {
    using host = machine()
    const file = host.process().open('/dev/iommu')
    expect([allocIoas(file), allocIoas(file), allocIoas(file)]).toEqual([1, 2, 3])
    destroy(file, 2)
    expect([allocIoas(file), allocIoas(file)]).toEqual([2, 4])
  })

  it('leave an address space as it was when the answer cannot be given', () => {
    using host = machine()
    const process = host.process()
    const file = process.open('/dev/iommu')
    using memory = HostMemory.allocate(4096)
    const address = process.map(memory)
    new DataView(new ArrayBuffer(4))
    process.writeMemory(address, new Uint8Array(Uint32Array.of(12, 0, 0).buffer))
    process.protect(address, 4096n, { read: true, write: false })
    expect(() => file.ioctl('IOMMU_IOAS_ALLOC', address)).toThrow(errno('EFAULT'))
    expect(allocIoas(file)).toBe(1)
  })
})

describe('files', () => {
  const mapFile = (ioasId: number, fd: number, length: bigint, start = 0n) =>
    iommuIoasMapFile.bytes({
      size: iommuIoasMapFile.size,
      flags: RW | FIXED,
      ioasId,
      fd,
      start,
      length,
      iova: 0x10000n,
    })

  it('are mapped, looked at when needed, and paid for by whoever says so', () => {
    using host = machine({ iommufdTests: true })
    const process = host.process()
    const file = process.open('/dev/iommu')
    const ioas = allocIoas(file)
    using memory = HostMemory.allocate(8192)
    const memfd = process.openMemory(memory)
    expect(() => file.ioctl('IOMMU_IOAS_MAP_FILE', mapFile(ioas, 999, 8192n))).toThrow(errno('EBADF'))
    file.ioctl('IOMMU_IOAS_MAP_FILE', mapFile(ioas, memfd.fd, 8192n))
    const access = createAccess(file, ioas)
    pin(file, access, 0x10000n, 8192n)
    expect(process.pinnedVm).toBe(2n)
    using other = host.process()
    const change = iommuIoasChangeProcess.bytes({ size: iommuIoasChangeProcess.size })
    const child = process.fork()
    child.file(file.fd).ioctl('IOMMU_IOAS_CHANGE_PROCESS', change)
    expect([process.pinnedVm, child.pinnedVm, other.pinnedVm]).toEqual([0n, 2n, 0n])
  })

  it('that have no memory are noticed when somebody needs it', () => {
    using host = machine({ iommufdTests: true })
    const process = host.process()
    const file = process.open('/dev/iommu')
    const ioas = allocIoas(file)
    file.ioctl('IOMMU_IOAS_MAP_FILE', mapFile(ioas, process.eventfd().fd, 4096n))
    const access = createAccess(file, ioas)
    expect(() => pin(file, access, 0x10000n, 4096n)).toThrow(errno('EINVAL'))
  })
})

describe('limits', () => {
  it('are those of the user, whatever the process', () => {
    using host = machine({ iommufdTests: true })
    const options = { uid: 1000, caps: [], memlock: 8192 } as const
    host.dev.chmod('/dev/iommu', 0o666)
    const [first, second] = [host.process(options), host.process(options)]
    const pinIn = (process: typeof first): void => {
      const file = process.open('/dev/iommu')
      const { address } = ramOf(process)
      const ioas = allocIoas(file)
      mapAt(file, ioas, address, 0x10000n, 0x10000n)
      pin(file, createAccess(file, ioas), 0x10000n, 8192n)
    }
    pinIn(first)
    expect(() => pinIn(second)).toThrow(errno('ENOMEM'))
    first.exit()
    pinIn(second)
    expect(second.lockedVm).toBe(0n)
  })

  it('are those of the process where that was asked for', () => {
    using host = machine({ iommufdTests: true })
    const process = host.process({ dropCapabilities: ['CAP_IPC_LOCK'], memlock: 4096 })
    const file = process.open('/dev/iommu')
    file.ioctl('IOMMU_OPTION', iommuOption.bytes({ size: iommuOption.size, val64: 1n }))
    const ioas = allocIoas(file)
    const { address } = ramOf(process)
    mapAt(file, ioas, address, 0x10000n, 0x10000n)
    const access = createAccess(file, ioas)
    pin(file, access, 0x10000n, 4096n)
    expect(process.lockedVm).toBe(1n)
    expect(() => pin(file, access, 0x11000n, 4096n)).toThrow(errno('ENOMEM'))
    const unmap = iommuIoasUnmap.bytes({ size: iommuIoasUnmap.size, ioasId: ioas, length: 0xffff_ffff_ffff_ffffn })
    file.ioctl('IOMMU_IOAS_UNMAP', unmap)
    expect(process.lockedVm).toBe(0n)
  })
})

describe('anything at all', () => {
  it('is answered or refused, and leaves nothing behind', () => {
    const requests = Object.values(IOCTL).filter((number) => number >= 0x3b80 && number <= 0x3ba0)
    const steps = fc.array(
      fc.tuple(fc.constantFrom(...requests), fc.uint8Array({ minLength: 4, maxLength: 80 }), fc.boolean()),
      { minLength: 1, maxLength: 30 },
    )
    fc.assert(
      fc.property(steps, (calls) => {
        using host = machine({ iommufdTests: true })
        const process = host.process()
        const { address } = ramOf(process)
        const file = process.open('/dev/iommu')
        const ioas = allocIoas(file)
        mapAt(file, ioas, address, 0x10000n, 0x10000n)
        for (const [request, bytes, small] of calls) {
          new DataView(bytes.buffer).setUint32(0, bytes.byteLength, true)
          // Small ids and operations lead further than random ones.
          if (small)
            for (let i = 4; i < Math.min(24, bytes.byteLength); i++) bytes[i] = i % 4 === 0 ? (bytes[i] ?? 0) % 14 : 0
          try {
            file.ioctl(request, bytes)
          } catch (error) {
            if (!isErrno(error)) throw error
          }
        }
        process.exit()
        expect(process.pinnedVm).toBe(0n)
      }),
      { numRuns: 60 },
    )
  })
})

function createAccess(file: ReturnType<ReturnType<ReturnType<typeof machine>['process']>['open']>, id: number): number {
  const bytes = testCreateAccess.bytes({ size: testCreateAccess.size, op: IOMMU_TEST_OP_CREATE_ACCESS, id, flags: 1 })
  file.ioctl('IOMMU_TEST_CMD', bytes)
  return testCreateAccess.decode(bytes).outAccessFd
}

function pin(file: Parameters<typeof createAccess>[0], access: number, iova: bigint, length: bigint): void {
  const op = IOMMU_TEST_OP_ACCESS_PAGES
  file.ioctl('IOMMU_TEST_CMD', testAccessPages.bytes({ size: testAccessPages.size, op, id: access, iova, length }))
}

describe('a queue of faults', () => {
  it('lives as long as its file and its page tables', () => {
    using host = machine({ iommufdTests: true })
    const process = host.process()
    const file = process.open('/dev/iommu')
    const bytes = iommuFaultAlloc.bytes({ size: iommuFaultAlloc.size })
    file.ioctl('IOMMU_FAULT_QUEUE_ALLOC', bytes)
    const { outFaultId, outFaultFd } = iommuFaultAlloc.decode(bytes)
    const queue = process.file(outFaultFd)
    expect(queue.poll()).toBe(4)
    expect(queue.read(new Uint8Array(80))).toBe(0)
    expect(() => queue.read(new Uint8Array(39))).toThrow(errno('ESPIPE'))
    expect(() => queue.write(new Uint8Array(8))).toThrow(errno('EINVAL'))
    expect(() => destroy(file, outFaultId)).toThrow(errno('EBUSY'))
    queue.close()
    destroy(file, outFaultId)
  })
})

describe('what the hardware has not', () => {
  it('is judged as always, then refused', () => {
    using host = machine()
    const file = host.process().open('/dev/iommu')
    const ioas = allocIoas(file)
    const invalidate = iommuHwptInvalidate.bytes({ size: 32, hwptId: ioas, entryNum: 3, entryLen: 8, dataUptr: 1n })
    expect(() => file.ioctl('IOMMU_HWPT_INVALIDATE', invalidate)).toThrow(errno('EINVAL'))
    expect(iommuHwptInvalidate.decode(invalidate).entryNum).toBe(0)
    const viommu = (type: number) => iommuViommuAlloc.bytes({ size: 24, type, devId: ioas })
    expect(() => file.ioctl('IOMMU_VIOMMU_ALLOC', viommu(0))).toThrow(errno('EOPNOTSUPP'))
    expect(() => file.ioctl('IOMMU_VIOMMU_ALLOC', viommu(1))).toThrow(errno('ENOENT'))
    expect(() => file.ioctl('IOMMU_VIOMMU_ALLOC', viommu(1).fill(20, 0, 1))).toThrow(errno('EINVAL'))
  })
})
