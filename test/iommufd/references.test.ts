/** The test requests that count pins: what is pinned once is counted once, whoever asks on the machine. */
import { describe, expect, it } from 'vitest'
import type { FileHandle } from '../../ts/index.ts'
import {
  IOMMU_TEST_OP_MD_CHECK_REFS,
  IOMMU_TEST_OP_MOCK_DOMAIN,
  IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT,
  MOCK_APERTURE_START,
} from '../../ts/uapi/constants.ts'
import { testCheckRefs, testMemoryLimit, testMockDomain } from '../../ts/uapi/structs.ts'
import { allocIoas, errno, machine, mapAt, ramOf } from './machine.ts'

const OP = 'IOMMU_TEST_CMD'

function checkRefs(file: FileHandle, uptr: bigint, length: bigint, refs: number): void {
  const op = IOMMU_TEST_OP_MD_CHECK_REFS
  file.ioctl(OP, testCheckRefs.bytes({ size: testCheckRefs.size, op, uptr, length, refs }))
}

describe('IOMMU_TEST_OP_MD_CHECK_REFS', () => {
  it('counts the pins of each page, on the whole machine', () => {
    using host = machine({ iommufdTests: true })
    using user = host.process()
    const file = user.open('/dev/iommu')
    const other = user.open('/dev/iommu')
    const { address } = ramOf(user)
    const ioas = allocIoas(file)
    mapAt(file, ioas, address, 8192n, BigInt(MOCK_APERTURE_START))
    checkRefs(file, address, 16n * 4096n, 0)
    const mock = testMockDomain.bytes({ size: testMockDomain.size, op: IOMMU_TEST_OP_MOCK_DOMAIN, id: ioas })
    file.ioctl(OP, mock)
    checkRefs(file, address, 8192n, 1)
    checkRefs(other, address, 8192n, 1)
    checkRefs(file, address + 8192n, 4096n, 0)
    expect(() => checkRefs(file, address, 12288n, 1)).toThrow(errno('EIO'))
    // Mapped once more by itself, the memory is pinned once more.
    mapAt(file, ioas, address, 4096n, BigInt(MOCK_APERTURE_START) + 65536n)
    checkRefs(other, address, 4096n, 2)
    file.close()
    checkRefs(other, address, 16n * 4096n, 0)
  })

  it('takes whole pages of memory that is there', () => {
    using host = machine({ iommufdTests: true })
    using user = host.process()
    const file = user.open('/dev/iommu')
    const { address } = ramOf(user)
    expect(() => checkRefs(file, address + 1n, 4096n, 0)).toThrow(errno('EINVAL'))
    expect(() => checkRefs(file, address, 1n, 0)).toThrow(errno('EINVAL'))
    expect(() => checkRefs(file, 2n ** 64n - 4096n, 4096n, 0)).toThrow(errno('EINVAL'))
    expect(() => checkRefs(file, 4096n, 4096n, 0)).toThrow(errno('EFAULT'))
  })

  it('limits the lists of the kernel, which are not here, to one entry at least', () => {
    using host = machine({ iommufdTests: true })
    using user = host.process()
    const file = user.open('/dev/iommu')
    const limit = (bytes: number): void => {
      const op = IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT
      file.ioctl(OP, testMemoryLimit.bytes({ size: testMemoryLimit.size, op, limit: bytes }))
    }
    limit(65536)
    expect(() => limit(11)).toThrow(errno('EINVAL'))
  })
})
