import { describe, expect, it } from 'vitest'
import { IOCTL, IOCTL_ARGUMENT, ioctlNumber } from '../../ts/uapi/ioctl.ts'
import {
  STRUCTS,
  iommuHwInfo,
  vfioEehPeOp,
  vfioIommuSpaprTceInfo,
  vfioIommuType1DmaMap,
  vfioIrqSet,
} from '../../ts/uapi/structs.ts'
import { ERRNO, errnoName, errnoText } from '../../ts/uapi/errno.ts'

describe('a codec', () => {
  it('gives numbers up to 32 bits and bigints for 64', () => {
    const bytes = vfioIommuType1DmaMap.bytes({ argsz: 32, flags: 3, iova: 0xffff_ffff_ffff_f000n, size: 0x1000n })
    expect(vfioIommuType1DmaMap.decode(bytes)).toEqual({
      argsz: 32,
      flags: 3,
      vaddr: 0n,
      iova: 0xffff_ffff_ffff_f000n,
      size: 0x1000n,
    })
  })

  it('writes only the members it is given', () => {
    const bytes = new Uint8Array(24).fill(0xcc)
    vfioIrqSet.encode({ index: 1 }, bytes, 4)
    expect([...bytes.subarray(12, 16)]).toEqual([1, 0, 0, 0])
    expect(bytes.filter((byte) => byte === 0xcc)).toHaveLength(20)
  })

  it('refuses too few bytes, whatever the position', () => {
    expect(() => vfioIrqSet.decode(new Uint8Array(19))).toThrow(RangeError)
    expect(() => vfioIrqSet.decode(new Uint8Array(40), 21)).toThrow(RangeError)
    expect(() => vfioIrqSet.decode(new Uint8Array(40), -1)).toThrow(RangeError)
    expect(() => vfioIrqSet.decode(new Uint8Array(40), Number.NaN)).toThrow(RangeError)
  })

  it('flattens nested structures and keeps their C names in the layout', () => {
    expect(vfioIommuSpaprTceInfo.fields['ddw.levels']).toEqual({ type: 'u32', offset: 28, count: 0 })
    expect(vfioIommuSpaprTceInfo.decode(vfioIommuSpaprTceInfo.bytes({ ddwLevels: 5 })).ddwLevels).toBe(5)
    expect(vfioEehPeOp.bytes({ errMask: 1n })[32]).toBe(1)
  })

  it('copies arrays as bytes', () => {
    const bytes = iommuHwInfo.bytes({ __reserved: Uint8Array.of(1, 2, 3, 4) })
    expect([...bytes.subarray(28, 33)]).toEqual([0, 1, 2, 3, 0])
    const { __reserved } = iommuHwInfo.decode(bytes)
    bytes.fill(0)
    expect([...__reserved]).toEqual([1, 2, 3])
  })

  it('covers its members without overlap', () => {
    const width = { u8: 1, u16: 2, u32: 4, s32: 4, u64: 8, s64: 8 }
    for (const { name, size, fields } of Object.values(STRUCTS)) {
      let end = 0
      for (const { type, offset, count } of Object.values(fields)) {
        expect(offset, name).toBeGreaterThanOrEqual(end)
        end = offset + width[type] * (count || 1)
      }
      expect(end, name).toBeLessThanOrEqual(size)
    }
  })
})

describe('an ioctl', () => {
  it('has a number in each encoding', () => {
    expect(IOCTL.VFIO_IOMMU_MAP_DMA).toBe(0x3b71)
    expect(ioctlNumber('VFIO_IOMMU_MAP_DMA', 'ppc64')).toBe(0x20003b71)
    expect(ioctlNumber('KVM_CREATE_DEVICE')).toBe(0xc00caee0)
  })

  it('names the structure behind its argument', () => {
    expect(IOCTL_ARGUMENT.VFIO_DEVICE_SET_IRQS).toBe('vfio_irq_set')
    expect(IOCTL_ARGUMENT.VFIO_SET_IOMMU).toBeUndefined()
  })
})

it('an errno is found by name and by number', () => {
  expect(errnoName(ERRNO.ENOSPC)).toBe('ENOSPC')
  expect(errnoName(41)).toBeUndefined()
  expect(errnoText('EBUSY')).toBe('device or resource busy')
})
