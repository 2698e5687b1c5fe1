import { describe, expect, it } from 'vitest'
import { HostMemory } from '../../ts/index.ts'
import {
  IOMMU_HW_QUEUE_TYPE_SELFTEST,
  IOMMU_HWPT_ALLOC_NEST_PARENT,
  IOMMU_HWPT_ALLOC_PASID,
  IOMMU_HWPT_DATA_SELFTEST,
  IOMMU_HWPT_FAULT_ID_VALID,
  IOMMU_HWPT_INVALIDATE_DATA_SELFTEST,
  IOMMU_TEST_OP_DEV_CHECK_CACHE,
  IOMMU_TEST_OP_MD_CHECK_IOTLB,
  IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS,
  IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE,
  IOMMU_TEST_OP_PASID_ATTACH,
  IOMMU_TEST_OP_PASID_CHECK_HWPT,
  IOMMU_TEST_OP_PASID_DETACH,
  IOMMU_TEST_OP_TRIGGER_IOPF,
  IOMMU_TEST_OP_TRIGGER_VEVENT,
  IOMMU_VEVENTQ_TYPE_SELFTEST,
  IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST,
  IOMMU_VIOMMU_TYPE_SELFTEST,
  MOCK_FLAGS_DEVICE_PASID,
} from '../../ts/uapi/constants.ts'
import {
  iommuFaultAlloc,
  iommuHwptAlloc,
  iommuHwptInvalidate,
  iommuHwptInvalidateSelftest,
  iommuHwptPageResponse,
  iommuHwptPgfault,
  iommuHwptSelftest,
  iommuHwQueueAlloc,
  iommuVdeviceAlloc,
  iommuVeventqAlloc,
  iommuViommuAlloc,
  iommuViommuInvalidateSelftest,
  testCheckCache,
  testMockDomain,
  testMockDomainReplace,
  testPasid,
  testTriggerIopf,
  testTriggerVevent,
} from '../../ts/uapi/structs.ts'
import { allocIoas, destroy, errno, machine, mapAt } from './machine.ts'

const APERTURE = 0x100_0000n

function mock() {
  const host = machine({ iommufdTests: true })
  const process = host.process()
  const file = process.open('/dev/iommu')
  const ioas = allocIoas(file)
  const at = process.map(HostMemory.allocate(4096))
  const domain = testMockDomain.bytes({
    size: testMockDomain.size,
    op: IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS,
    id: ioas,
    devFlags: MOCK_FLAGS_DEVICE_PASID,
  })
  file.ioctl('IOMMU_TEST_CMD', domain)
  const { outStdevId: stdev, outIdevId: devId } = testMockDomain.decode(domain)
  const hwpt = (ptId: number, changes: object = {}) => {
    const argument = iommuHwptAlloc.bytes({ size: iommuHwptAlloc.size, devId, ptId, ...changes })
    file.ioctl('IOMMU_HWPT_ALLOC', argument)
    return iommuHwptAlloc.decode(argument).outHwptId
  }
  const nested = (ptId: number, changes: object = {}) => {
    process.writeMemory(at, iommuHwptSelftest.bytes({ iotlb: 0xbadbeef }))
    return hwpt(ptId, { dataType: IOMMU_HWPT_DATA_SELFTEST, dataLen: 4, dataUptr: at, ...changes })
  }
  const replace = (ptId: number) =>
    file.ioctl(
      'IOMMU_TEST_CMD',
      testMockDomainReplace.bytes({
        size: testMockDomainReplace.size,
        op: IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE,
        id: stdev,
        ptId,
      }),
    )
  const cache = (op: number, id: number, entry: number, value: number) =>
    file.ioctl('IOMMU_TEST_CMD', testCheckCache.bytes({ size: testCheckCache.size, op, id, entry, value }))
  const invalidate = (hwptId: number, dataType: number, entryLen: number, entryNum: number) => {
    const argument = iommuHwptInvalidate.bytes({
      size: iommuHwptInvalidate.size,
      hwptId,
      dataType,
      dataUptr: at,
      entryLen,
      entryNum,
    })
    try {
      file.ioctl('IOMMU_HWPT_INVALIDATE', argument)
      return [iommuHwptInvalidate.decode(argument).entryNum, '']
    } catch (error) {
      return [iommuHwptInvalidate.decode(argument).entryNum, (error as { code: string }).code]
    }
  }
  return { host, process, file, ioas, at, stdev, devId, hwpt, nested, replace, cache, invalidate }
}

describe('the mock IOMMU', () => {
  it('nests, with a cache that is invalidated entry by entry', () => {
    const { host, process, file, ioas, at, hwpt, nested, replace, cache, invalidate } = mock()
    using _host = host
    const parent = hwpt(ioas, { flags: IOMMU_HWPT_ALLOC_NEST_PARENT })
    expect(() => nested(hwpt(ioas))).toThrow(errno('EINVAL'))
    expect(() => nested(parent, { dataType: 7 })).toThrow(errno('EOPNOTSUPP'))
    expect(() => nested(parent, { dataLen: 3 })).toThrow(errno('EINVAL'))
    expect(() => nested(parent, { dataUptr: 0n })).toThrow(errno('EFAULT'))
    const id = nested(parent)
    expect(() => nested(id)).toThrow(errno('EINVAL'))
    expect(() => destroy(file, parent)).toThrow(errno('EBUSY'))
    cache(IOMMU_TEST_OP_MD_CHECK_IOTLB, id, 3, 0xbadbeef)
    process.writeMemory(at, iommuHwptInvalidateSelftest.bytes({ iotlbId: 1 }))
    process.writeMemory(at + 8n, iommuHwptInvalidateSelftest.bytes({ flags: 2 }))
    const kind = IOMMU_HWPT_INVALIDATE_DATA_SELFTEST
    expect(invalidate(id, kind, 8, 2)).toEqual([1, 'EOPNOTSUPP'])
    expect(invalidate(id, kind, 9, 1)).toEqual([0, 'EINVAL'])
    expect(invalidate(id, kind, 8, 0)).toEqual([0, ''])
    expect(invalidate(parent, kind, 8, 1)).toEqual([0, 'EINVAL'])
    cache(IOMMU_TEST_OP_MD_CHECK_IOTLB, id, 1, 0)
    expect(() => cache(IOMMU_TEST_OP_MD_CHECK_IOTLB, id, 0, 0)).toThrow(errno('EINVAL'))
    replace(id)
    expect(() => destroy(file, id)).toThrow(errno('EBUSY'))
    replace(ioas)
    destroy(file, id)
    destroy(file, parent)
  })

  it('delivers page requests to a fault queue', () => {
    const { host, process, file, ioas, devId, hwpt, nested, replace } = mock()
    using _host = host
    const made = iommuFaultAlloc.bytes({ size: iommuFaultAlloc.size })
    file.ioctl('IOMMU_FAULT_QUEUE_ALLOC', made)
    const { outFaultId: faultId, outFaultFd } = iommuFaultAlloc.decode(made)
    const queue = process.file(outFaultFd)
    const parent = hwpt(ioas, { flags: IOMMU_HWPT_ALLOC_NEST_PARENT })
    expect(() => nested(parent, { flags: IOMMU_HWPT_FAULT_ID_VALID, faultId: 999 })).toThrow(errno('ENOENT'))
    replace(nested(parent, { flags: IOMMU_HWPT_FAULT_ID_VALID, faultId }))
    expect(queue.poll()).toBe(4)
    const trigger = { op: IOMMU_TEST_OP_TRIGGER_IOPF, devId, pasid: 1, grpid: 2, perm: 3, addr: 0xdead_beaf_0000n }
    file.ioctl('IOMMU_TEST_CMD', testTriggerIopf.bytes({ size: testTriggerIopf.size, ...trigger }))
    expect(queue.poll()).toBe(5)
    expect(() => queue.read(new Uint8Array(7))).toThrow(errno('ESPIPE'))
    const bytes = new Uint8Array(iommuHwptPgfault.size)
    expect(queue.read(bytes)).toBe(bytes.byteLength)
    const fault = iommuHwptPgfault.decode(bytes)
    expect(fault).toMatchObject({ flags: 3, devId, pasid: 1, grpid: 2, perm: 3, addr: 0xdead_beaf_0000n, cookie: 1 })
    expect(() => queue.write(iommuHwptPageResponse.bytes({ cookie: 1, code: 2 }))).toThrow(errno('EINVAL'))
    expect(queue.write(iommuHwptPageResponse.bytes({ cookie: 1, code: 0 }))).toBe(8)
    expect(() => queue.write(iommuHwptPageResponse.bytes({ cookie: 1, code: 0 }))).toThrow(errno('EINVAL'))
  })

  it('has virtual IOMMUs with devices, events and queues', () => {
    const { host, process, file, ioas, at, stdev, devId, hwpt, nested, replace, cache, invalidate } = mock()
    using _host = host
    const parent = hwpt(ioas, { flags: IOMMU_HWPT_ALLOC_NEST_PARENT })
    const alloc = iommuViommuAlloc.bytes({
      size: iommuViommuAlloc.size,
      type: IOMMU_VIOMMU_TYPE_SELFTEST,
      devId,
      hwptId: parent,
    })
    file.ioctl('IOMMU_VIOMMU_ALLOC', alloc)
    const viommuId = iommuViommuAlloc.decode(alloc).outViommuId
    const id = nested(viommuId)
    expect(() => replace(id)).toThrow(errno('ENOENT'))
    const vdevice = iommuVdeviceAlloc.bytes({ size: iommuVdeviceAlloc.size, viommuId, devId, virtId: 0x99n })
    file.ioctl('IOMMU_VDEVICE_ALLOC', vdevice)
    const { outVdeviceId } = iommuVdeviceAlloc.decode(vdevice)
    replace(id)
    const eventq = iommuVeventqAlloc.bytes({
      size: iommuVeventqAlloc.size,
      viommuId,
      type: IOMMU_VEVENTQ_TYPE_SELFTEST,
      veventqDepth: 2,
    })
    file.ioctl('IOMMU_VEVENTQ_ALLOC', eventq)
    const events = process.file(iommuVeventqAlloc.decode(eventq).outVeventqFd)
    const trigger = testTriggerVevent.bytes({
      size: testTriggerVevent.size,
      op: IOMMU_TEST_OP_TRIGGER_VEVENT,
      devId,
    })
    for (let i = 0; i < 3; i++) file.ioctl('IOMMU_TEST_CMD', trigger)
    const bytes = new Uint8Array(64)
    expect(events.read(bytes)).toBe(12 + 12 + 8)
    expect([...new Uint32Array(bytes.buffer.slice(0, 32))]).toEqual([0, 0, 0x99, 0, 1, 0x99, 1, 2])

    process.writeMemory(at, iommuViommuInvalidateSelftest.bytes({ vdevId: 0x99, cacheId: 2 }))
    process.writeMemory(at + 12n, iommuViommuInvalidateSelftest.bytes({ vdevId: 0x9 }))
    expect(invalidate(viommuId, IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST, 12, 2)).toEqual([1, 'EINVAL'])
    cache(IOMMU_TEST_OP_DEV_CHECK_CACHE, devId, 2, 0)
    cache(IOMMU_TEST_OP_DEV_CHECK_CACHE, devId, 1, 0xb_addad)

    const queue = (index: number, nestingParentIova: bigint, length: bigint) => {
      const argument = iommuHwQueueAlloc.bytes({
        size: iommuHwQueueAlloc.size,
        viommuId,
        type: IOMMU_HW_QUEUE_TYPE_SELFTEST,
        index,
        nestingParentIova,
        length,
      })
      file.ioctl('IOMMU_HW_QUEUE_ALLOC', argument)
      return iommuHwQueueAlloc.decode(argument).outHwQueueId
    }
    expect(() => queue(0, APERTURE, 4096n)).toThrow(errno('ENOENT'))
    mapAt(file, ioas, process.map(HostMemory.allocate(4096)), 4096n, APERTURE)
    expect(() => queue(1, APERTURE, 4096n)).toThrow(errno('EIO'))
    expect(() => queue(2, APERTURE, 4096n)).toThrow(errno('EINVAL'))
    const first = queue(0, APERTURE, 4096n)
    expect(() => queue(0, APERTURE, 4096n)).toThrow(errno('EEXIST'))
    const second = queue(1, APERTURE, 2048n)
    expect(() => destroy(file, first)).toThrow(errno('EBUSY'))
    destroy(file, second)
    destroy(file, first)

    destroy(file, stdev)
    expect(() => destroy(file, outVdeviceId)).toThrow(errno('ENOENT'))
    expect(allocIoas(file)).not.toBe(outVdeviceId)
  })

  it('has PASIDs', () => {
    const { host, file, ioas, stdev, hwpt, replace } = mock()
    using _host = host
    const pasid = (op: number, ptId: number) =>
      file.ioctl('IOMMU_TEST_CMD', testPasid.bytes({ size: testPasid.size, op, id: stdev, pasid: 100, ptId }))
    const flags = IOMMU_HWPT_ALLOC_PASID
    const [plain, one] = [hwpt(ioas), hwpt(ioas, { flags })]
    expect(() => pasid(IOMMU_TEST_OP_PASID_ATTACH, plain)).toThrow(errno('EINVAL'))
    replace(one)
    const two = hwpt(ioas, { flags })
    pasid(IOMMU_TEST_OP_PASID_ATTACH, two)
    pasid(IOMMU_TEST_OP_PASID_CHECK_HWPT, two)
    expect(() => pasid(IOMMU_TEST_OP_PASID_CHECK_HWPT, one)).toThrow(errno('EINVAL'))
    expect(() => replace(plain)).toThrow(errno('EINVAL'))
    pasid(IOMMU_TEST_OP_PASID_DETACH, 0)
    pasid(IOMMU_TEST_OP_PASID_CHECK_HWPT, 0)
    replace(plain)
  })
})
