import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { VfioError } from '../../ts/errors.ts'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { VFIO_TYPE1_IOMMU } from '../../ts/uapi/constants.ts'
import { errnoOf, TestProcess } from '../parts/machine.ts'
import { type1 } from './parts.ts'

const both = { read: true, write: true }

function refusal(run: () => unknown): VfioError {
  try {
    run()
  } catch (error) {
    if (error instanceof VfioError) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('mapping', () => {
  it('lets devices read and write memory, as far as it was allowed', () => {
    const { container, dma } = type1()
    using memory = HostMemory.allocate(0x4000)
    container.mapDma({ iova: 0n, memory, ...both })
    container.mapDma({ iova: 0x10_0000, memory, offset: 0x1000, length: 0x1000, read: true, write: false })
    memory.writeU32(0x1004, 42)
    expect(dma.readU32(0x1004n)).toBe(42)
    expect(dma.readU32(0x10_0004n)).toBe(42)
    dma.write(8n, Uint8Array.of(1, 2, 3))
    expect(memory.read(8, 3)).toEqual(Uint8Array.of(1, 2, 3))
    expect(refusal(() => dma.writeU8(0x10_0000n, 1))).toMatchObject({ code: 'EFAULT', address: 0x10_0000n })
    expect(errnoOf(() => dma.readU8(0x4000n))).toBe('EFAULT')
  })

  it('says what is wrong and what to do', () => {
    const { container } = type1()
    using memory = HostMemory.allocate(0x4000)
    container.mapDma({ iova: 0x1000n, memory, length: 0x1000, ...both })
    expect(refusal(() => container.mapDma({ iova: 0x1000n, memory, ...both }))).toMatchObject({
      code: 'EEXIST',
      syscall: 'VFIO_IOMMU_MAP_DMA',
      address: 0x1000n,
      remedy: 'unmap it first',
    })
    expect(() => container.mapDma({ iova: 0x8000n, memory, read: false, write: false })).toThrow(
      /EINVAL.*neither read nor write/,
    )
    expect(() => container.mapDma({ iova: 0x8001n, memory, ...both })).toThrow(/EINVAL.*multiples of 4096/)
    expect(() => container.mapDma({ iova: 0xfee0_0000n, memory, ...both })).toThrow(/EINVAL.*map within 0x0-0xfedfffff/)
    expect(() => container.mapDma({ iova: 1n << 48n, memory, ...both })).toThrow(/EINVAL.*cannot map/)
  })

  it('checks shapes before anything else', () => {
    const { container } = type1()
    using memory = HostMemory.allocate(0x1000)
    expect(() => container.mapDma({ iova: '0' as never, memory, ...both })).toThrow(TypeError)
    expect(() => container.mapDma({ iova: -1, memory, ...both })).toThrow(RangeError)
    expect(() => container.mapDma({ iova: 0, memory: new Uint8Array(4096) as never, ...both })).toThrow(TypeError)
    expect(() => container.mapDma({ iova: 0, memory, offset: 0x2000, ...both })).toThrow(RangeError)
    expect(() => container.mapDma({ iova: 0, memory, length: 0x2000, ...both })).toThrow(RangeError)
    expect(() => container.mapDma({ iova: 0, memory, read: 1 as never, write: true })).toThrow(TypeError)
    expect(container.unmapAll()).toBe(0n)
  })

  it('keeps the bytes of memory that is let go', () => {
    const { container, dma } = type1()
    const memory = HostMemory.allocate(0x1000)
    container.mapDma({ iova: 0n, memory, ...both })
    memory.writeU32(0, 7)
    memory.close()
    expect(dma.readU32(0n)).toBe(7)
  })

  it('stops at the entry limit', () => {
    const { container } = type1({ entryLimit: 2 })
    using memory = HostMemory.allocate(0x1000)
    container.mapDma({ iova: 0n, memory, ...both })
    container.mapDma({ iova: 0x1000n, memory, ...both })
    expect(container.info().mappingsAvailable).toBe(0)
    expect(refusal(() => container.mapDma({ iova: 0x2000n, memory, ...both }))).toMatchObject({ code: 'ENOSPC' })
  })

  it('is charged to the process, within its limit', () => {
    const process = new TestProcess(['CAP_IPC_LOCK'])
    process.mm.setLimit(0x2000n)
    const { container } = type1({ process })
    using memory = HostMemory.allocate(0x3000)
    expect(() => container.mapDma({ iova: 0n, memory, ...both })).toThrow(/ENOMEM.*CAP_IPC_LOCK/)
    expect(process.mm.lockedVm()).toBe(0n)
    container.mapDma({ iova: 0n, memory, length: 0x2000, ...both })
    expect(process.mm.lockedVm()).toBe(2n)
    container.unmapAll()
    expect(process.mm.lockedVm()).toBe(0n)
  })
})

describe('unmapping', () => {
  it('tells how much went, and then no DMA reaches it', () => {
    const { container, dma } = type1()
    using memory = HostMemory.allocate(0x4000)
    container.mapDma({ iova: 0x1000n, memory, ...both })
    expect(errnoOf(() => container.unmapDma({ iova: 0x2000n, length: 0x1000 }))).toBe('EINVAL')
    expect(container.unmapDma({ iova: 0x10_0000n, length: 0x1000 })).toBe(0n)
    expect(container.unmapDma({ iova: 0n, length: 0x8000 })).toBe(0x4000n)
    expect(errnoOf(() => dma.readU8(0x1000n))).toBe('EFAULT')
    expect(errnoOf(() => container.unmapDma({ iova: 0n, length: 1 }))).toBe('EINVAL')
  })

  it('of version 1 takes whole mappings away', () => {
    const { container } = type1({ model: VFIO_TYPE1_IOMMU })
    using memory = HostMemory.allocate(0x4000)
    container.mapDma({ iova: 0x1000n, memory, ...both })
    expect(container.unmapDma({ iova: 0x2000n, length: 0x1000 })).toBe(0n)
    expect(container.unmapDma({ iova: 0x1000n, length: 0x1000 })).toBe(0x4000n)
    expect(errnoOf(() => container.dirty.start())).toBe('EACCES')
  })

  it('happens when the last group leaves', () => {
    const { container, group, handle, process } = type1()
    using memory = HostMemory.allocate(0x4000)
    container.mapDma({ iova: 0x1000n, memory, ...both })
    handle.close()
    group.close()
    expect(process.mm.lockedVm()).toBe(0n)
    expect(errnoOf(() => container.unmapAll())).toBe('EINVAL')
  })

  it('asks devices to let their pins go', () => {
    const asked: [bigint, bigint][] = []
    const setup = type1({
      kind: 'emulated',
      ops: {
        dmaUnmap: (iova, length) => {
          asked.push([iova, length])
          setup.dma.unpinPages(0x1000n, 1)
        },
      },
    })
    using memory = HostMemory.allocate(0x4000)
    setup.container.mapDma({ iova: 0x1000n, memory, ...both })
    setup.dma.pinPages(0x1000n, 1, both)
    expect(setup.process.mm.lockedVm()).toBe(1n)
    expect(setup.container.unmapAll()).toBe(0x4000n)
    expect(asked).toEqual([[0x1000n, 0x4000n]])
    expect(setup.process.mm.lockedVm()).toBe(0n)
  })
})

describe('batches', () => {
  it('map all or nothing', () => {
    const { container, dma } = type1()
    using memory = HostMemory.allocate(0x4000)
    container.mapDmaBatch({
      memory,
      triples: BigUint64Array.of(0n, 0x10000n, 0x1000n, 0x2000n, 0x20000n, 0x2000n),
      ...both,
    })
    memory.writeU8(0x2000, 5)
    expect(dma.readU8(0x20000n)).toBe(5)
    const clash = BigUint64Array.of(0n, 0x30000n, 0x1000n, 0n, 0x20000n, 0x1000n)
    expect(refusal(() => container.mapDmaBatch({ memory, triples: clash, ...both }))).toMatchObject({
      code: 'EEXIST',
      address: 0x20000n,
    })
    expect(container.unmapDma({ iova: 0x30000n, length: 0x1000 })).toBe(0n)
    expect(() => container.mapDmaBatch({ memory, triples: BigUint64Array.of(0n), ...both })).toThrow(RangeError)
    expect(() => container.mapDmaBatch({ memory, triples: BigUint64Array.of(0x4000n, 0n, 0x1000n), ...both })).toThrow(
      RangeError,
    )
    expect(() => container.mapDmaBatch({ memory, triples: [0n, 0n, 0n] as never, ...both })).toThrow(TypeError)
  })

  it('unmap up to the first refusal', () => {
    const { container } = type1()
    using memory = HostMemory.allocate(0x4000)
    container.mapDmaBatch({ memory, triples: BigUint64Array.of(0n, 0x10000n, 0x1000n, 0n, 0x20000n, 0x2000n), ...both })
    const pairs = BigUint64Array.of(0x10000n, 0x4000n, 0x20000n, 0x1000n, 0x30000n, 0x1000n)
    expect(refusal(() => container.unmapDmaBatch(pairs))).toMatchObject({ code: 'EINVAL', address: 0x20000n })
    expect(pairs[1]).toBe(0x1000n)
    container.unmapDmaBatch(BigUint64Array.of(0x20000n, 0x2000n))
    expect(container.info().mappingsAvailable).toBe(65535)
  })
})

describe('what else a container tells', () => {
  it('its page sizes and ranges', () => {
    const { container } = type1()
    expect(container.info()).toMatchObject({
      pageSizes: 0x4020_1000n,
      iovaRanges: [
        { start: 0n, last: 0xfedf_ffffn },
        { start: 0xfef0_0000n, last: 0xffff_ffff_ffffn },
      ],
      mappingsAvailable: 65535,
    })
    expect(type1({ kind: 'emulated' }).container.info().iovaRanges).toBeUndefined()
  })

  it('which pages devices wrote', () => {
    const { container, dma } = type1({ kind: 'emulated' })
    using memory = HostMemory.allocate(0x4000)
    container.mapDma({ iova: 0n, memory, ...both })
    expect(errnoOf(() => container.dirty.bitmap({ iova: 0, length: 0x4000 }))).toBe('EINVAL')
    container.dirty.start()
    container.dirty.start()
    dma.writeU8(0x2001n, 1)
    expect(container.dirty.bitmap({ iova: 0, length: 0x4000 })[0]).toBe(0b100)
    expect(container.dirty.bitmap({ iova: 0, length: 0x4000 })[0]).toBe(0)
    dma.writeU8(0x1fffn, 1)
    expect(container.unmapDmaDirty({ iova: 0, length: 0x4000 })).toMatchObject({
      unmapped: 0x4000n,
      bitmap: Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0),
    })
    container.dirty.stop()
    container.dirty.stop()
    expect(errnoOf(() => container.dirty.bitmap({ iova: 0, length: 1n << 63n }))).toBe('EINVAL')
  })

  it('which DMA was refused, and why', async () => {
    const { container, dma } = type1()
    const told = once(container.faults, 'fault')
    expect(errnoOf(() => dma.readU32(0x5000n))).toBe('EFAULT')
    const [fault] = container.faults.records()
    expect(fault).toMatchObject({ device: 'dev', iova: 0x5000n, length: 4n, access: 'read', reason: 'no-mapping' })
    expect(container.faults.explain()).toContain('0x5000')
    expect(container.faults.total).toBe(1n)
    expect(await told).toEqual([fault])
    container.faults.clear()
    expect(container.faults.records()).toEqual([])
  })

  it('an address that a successor of the process takes over', () => {
    const { container, dma } = type1()
    using memory = HostMemory.allocate(0x1000)
    using other = HostMemory.allocate(0x1000)
    container.mapDma({ iova: 0n, memory, ...both })
    expect(container.invalidateVaddr()).toBe(0x1000n)
    memory.writeU8(0, 3)
    expect(dma.readU8(0n)).toBe(3)
    container.updateVaddr({ iova: 0n, memory: other })
    expect(errnoOf(() => container.updateVaddr({ iova: 0n, memory: other }))).toBe('EINVAL')
  })
})
