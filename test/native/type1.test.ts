import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  DMA_READ,
  DMA_WRITE,
  type NativeAddressSpace,
  type NativeMemory,
  type NativeType1,
} from '../../ts/native/addon.ts'
import { addon } from '../../ts/native/load.ts'

const { NativeAddressSpace, NativeMemory, NativeType1 } = addon()
const [EFAULT, EBADF, EEXIST, EINVAL] = [-14, -9, -17, -22]
const RW = 3
const PAGE = 4096
const X86 = {
  pgsizes: 0x40201000n,
  apertureStart: 0n,
  apertureLast: 2n ** 48n - 1n,
  reserved: [{ start: 0xfee00000n, last: 0xfeefffffn, kind: 'msi' as const }],
  cacheCoherency: false,
}

interface Bench {
  mm: NativeAddressSpace
  memory: NativeMemory
  vaddr: bigint
  type1: NativeType1
}

function machine(kind: 'hw' | 'emulated' = 'hw', size = 1 << 20): Bench {
  const mm = new NativeAddressSpace({ memlock: 64n << 20n, capIpcLock: false })
  const memory = NativeMemory.anonymous(size)
  const vaddr = mm.map({ memory, offset: 0, length: size, read: true, write: true })
  const type1 = new NativeType1(true, 65535)
  if (kind === 'hw') type1.attachHw(1, X86)
  else type1.attachEmulated(1)
  return { mm, memory, vaddr, type1 }
}

describe('native address spaces', () => {
  it('look addresses up', () => {
    const { mm, memory, vaddr } = machine()
    expect(mm.write(vaddr + 10n, Uint8Array.of(1, 2, 3))).toBe(0)
    expect(memory.readU32(10)).toBe(0x030201)
    const into = new Uint8Array(8)
    expect(mm.read(vaddr + (1n << 20n) - 4n, into)).toBe(EFAULT)
    expect(mm.read(0x1000, into)).toBe(EFAULT)
    mm.protect(vaddr, PAGE, true, false)
    expect(mm.write(vaddr, Uint8Array.of(1))).toBe(EFAULT)
    expect(mm.read(vaddr, into)).toBe(0)
    mm.unmap(vaddr, PAGE)
    expect(mm.read(vaddr, into)).toBe(EFAULT)
    expect(mm.read(vaddr + 4096n, into)).toBe(0)
    mm.close()
    expect(mm.read(vaddr + 4096n, into)).toBe(EBADF)
  })

  it('take their hints, alignments and limits', () => {
    const mm = new NativeAddressSpace({ memlock: 4096n, capIpcLock: false })
    const memory = NativeMemory.anonymous(8192)
    const at = { memory, offset: 0, length: 8192, read: true, write: false }
    expect(mm.map({ ...at, hint: 0x10000 })).toBe(0x10000n)
    expect(mm.map({ ...at, align: 1n << 21n }) % (1n << 21n)).toBe(0n)
    expect(() => mm.map({ ...at, align: 0x3000 })).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => mm.map({ ...at, length: 8193 })).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    mm.mlock(0x10000, 4096)
    expect(mm.lockedVm()).toBe(1n)
    expect(() => mm.mlock(0x11000, 4096)).toThrow(expect.objectContaining({ code: 'ENOMEM' }))
    mm.setCapIpcLock(true)
    mm.mlock(0x11000, 4096)
    mm.munlock(0x10000, 8192)
    expect(mm.lockedVm()).toBe(0n)
  })

  it('refuse wrong shapes', () => {
    const mm = new NativeAddressSpace({ memlock: 4096n, capIpcLock: false })
    expect(() => new NativeAddressSpace(undefined as never)).toThrow(TypeError)
    expect(() => new NativeAddressSpace({ memlock: '1' as never, capIpcLock: false })).toThrow(TypeError)
    expect(() => mm.map({ memory: {} as never, offset: 0, length: 1, read: true, write: true })).toThrow(TypeError)
    expect(() => mm.map({} as never)).toThrow(TypeError)
    expect(() => mm.unmap('0' as never, 1)).toThrow(TypeError)
    expect(() => mm.read(0, [] as never)).toThrow(TypeError)
  })
})

describe('native type1', () => {
  it('maps, translates, moves bytes and unmaps', () => {
    const { mm, memory, vaddr, type1 } = machine()
    expect(type1.mapDma(mm, RW, vaddr, 0x100000, 1 << 20)).toBe(0)
    expect(type1.mapDma(mm, RW, vaddr, 0x100000, PAGE)).toBe(EEXIST)
    expect(mm.lockedVm()).toBe(256n)
    const dma = type1.openDevice(1, 'card', 'iommu')
    expect(dma.name).toBe('card')
    expect(dma.write(0x100010, Uint8Array.of(9, 8))).toBe(0)
    expect(memory.readU16(0x10)).toBe(0x0809)
    dma.writeU64(0x100020n, 0x1122334455667788n)
    expect(dma.readU64(0x100020)).toBe(0x1122334455667788n)
    expect([dma.readU32(0x100020), dma.readU16(0x100022), dma.readU8(0x100027)]).toEqual([0x55667788, 0x5566, 0x11])
    expect(dma.fetchAdd32(0x100000, 5)).toBe(0)
    expect(dma.compareExchange64(0x100000, 5, 6)).toBe(5n)
    expect(dma.fetchAdd64(0x100004, 1)).toBe(BigInt(EINVAL))
    expect(dma.fill(0x1ff000, PAGE, 0xaa)).toBe(0)
    expect(memory.readU8((1 << 20) - 1)).toBe(0xaa)
    const host = dma.translate(0x100123, DMA_READ | DMA_WRITE)
    expect(host % 4096).toBe(0x123)
    expect(type1.unmapDma(mm, 0, 0x100000, 1 << 20)).toBe(1n << 20n)
    expect(dma.readU32(0x100020)).toBe(EFAULT)
    expect(dma.readU64(0x100020)).toBe(BigInt(EFAULT))
    expect(mm.lockedVm()).toBe(0n)
    type1.close()
  })

  it('answers refusals by errno', () => {
    const { mm, vaddr, type1 } = machine()
    expect(type1.mapDma(mm, RW, vaddr, 1, PAGE)).toBe(EINVAL)
    expect(type1.mapDma(mm, RW, 0x1000, 0, PAGE)).toBe(EFAULT)
    expect(type1.mapDma(mm, RW, vaddr, 0xfee00000, PAGE)).toBe(EINVAL)
    expect(() => type1.unmapDma(mm, 0, 0, 0)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => type1.attachHw(1, X86)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    type1.close()
    type1.close()
    expect(type1.mapDma(mm, RW, vaddr, 0, PAGE)).toBe(EBADF)
    expect(() => type1.info()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => type1.unmapDma(mm, 0, 0, PAGE)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })

  it('tells what it can do', () => {
    const { type1 } = machine()
    expect(type1.info()).toEqual({
      pgsizes: 0x40201000n,
      iovaRanges: [
        { start: 0n, last: 0xfedfffffn },
        { start: 0xfef00000n, last: 2n ** 48n - 1n },
      ],
      dmaAvail: 65535,
      migration: { flags: 0, pgsizeBitmap: 4096n, maxDirtyBitmapSize: 256n << 20n },
    })
    expect(type1.checkExtension(3)).toBe(1)
    expect(type1.checkExtension(77)).toBe(0)
    type1.detach(1)
    type1.close()
  })

  it('runs batches up to the first refusal', () => {
    const { mm, vaddr, type1 } = machine()
    const triples = new BigUint64Array(30)
    for (let i = 0; i < 10; i++) triples.set([vaddr + BigInt(i * PAGE), BigInt(i * 2 * PAGE), BigInt(PAGE)], i * 3)
    const failure = Int32Array.of(7)
    expect(type1.mapDmaBatch(mm, RW, triples, failure)).toBe(10)
    expect(failure[0]).toBe(0)
    expect(type1.mapDmaBatch(mm, RW, triples, failure)).toBe(0)
    expect(failure[0]).toBe(EEXIST)
    expect(type1.mapDmaBatch(mm, RW, triples.subarray(1))).toBe(EINVAL)
    const pairs = BigUint64Array.of(0n, 0x1000n, 0x2000n, 0x8000n, 1n, 1n)
    expect(type1.unmapDmaBatch(mm, 0, pairs, failure)).toBe(2)
    expect(failure[0]).toBe(EINVAL)
    expect([...pairs]).toEqual([0n, 0x1000n, 0x2000n, 0x4000n, 1n, 1n])
    expect(type1.mappings()).toBe(5)
    type1.close()
  })

  it('translates, gathers and scatters in batches', () => {
    const { mm, memory, vaddr, type1 } = machine()
    type1.mapDma(mm, RW, vaddr, 0, 1 << 20)
    const dma = type1.openDevice(1, 'card', 'iommu')
    const iovas = BigUint64Array.of(0n, 0x5008n, 0x200000n, 0xfffffn)
    const hosts = new BigUint64Array(4)
    expect(dma.translateBatch(iovas, DMA_READ, hosts)).toBe(3)
    expect(hosts[1]! - hosts[0]!).toBe(0x5008n)
    expect(hosts[2]).toBe(2n ** 64n - 1n)
    expect(dma.translateBatch(iovas, DMA_READ, hosts.subarray(1))).toBe(EINVAL)
    const bytes = Uint8Array.from({ length: 10 }, (_, i) => i + 1)
    expect(dma.writeBatch(BigUint64Array.of(0x10n, 3n, 0x20n, 7n), bytes)).toBe(10)
    expect([memory.readU8(0x12), memory.readU8(0x20), memory.readU8(0x26)]).toEqual([3, 4, 10])
    const back = new Uint8Array(11)
    expect(dma.readBatch(BigUint64Array.of(0x10n, 3n, 0x20n, 7n), back)).toBe(10)
    expect([...back]).toEqual([...bytes, 0])
    expect(dma.readBatch(BigUint64Array.of(0x10n, 12n), back)).toBe(EINVAL)
    expect(dma.readBatch(BigUint64Array.of(0x10n, 2n ** 64n - 1n, 0n, 2n), back)).toBe(EINVAL)
    expect(dma.readBatch(BigUint64Array.of(0x10n), back)).toBe(EINVAL)
    expect(dma.readBatch(BigUint64Array.of(0x10n, 1n, 0x200000n, 1n), back)).toBe(EFAULT)
    type1.close()
  })

  it('closes devices with their views', () => {
    const { mm, vaddr, type1 } = machine()
    type1.mapDma(mm, RW, vaddr, 0, PAGE)
    const dma = type1.openDevice(1, 'card', 'iommu')
    expect(dma.readU8(0)).toBe(0)
    type1.closeDevice(dma)
    type1.closeDevice(dma)
    expect(dma.readU8(0)).toBe(EBADF)
    expect(() => dma.share()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    type1.close()
  })

  it('asks drivers to unpin, and lets them call back in', () => {
    const { mm, vaddr, type1 } = machine('emulated')
    type1.mapDma(mm, RW, vaddr, 0, 1 << 20)
    const asked: [bigint, bigint][] = []
    const dma = type1.openDevice(1, 'mdev', 'emulated', (iova, length) => {
      asked.push([iova, length])
      expect(dma.readU8(0x3000)).toBe(0)
      expect(dma.unpinPages(0x3000, 2)).toBe(0)
    })
    expect(dma.pinPages(0x3000, 2, DMA_READ | DMA_WRITE)).toBe(0)
    expect(mm.lockedVm()).toBe(2n)
    expect(type1.unmapDma(mm, 0, 0, 1 << 20)).toBe(1n << 20n)
    expect(asked).toEqual([[0n, 1n << 20n]])
    expect(mm.lockedVm()).toBe(0n)
    expect(dma.pinPages(0x3000, 2, DMA_READ)).toBeLessThan(0)
    type1.close()
  })

  it('gives up on a driver that does not unpin, and passes on what one throws', () => {
    const { mm, vaddr, type1 } = machine('emulated')
    type1.mapDma(mm, RW, vaddr, 0, PAGE)
    let asked = 0
    const dma = type1.openDevice(1, 'mdev', 'emulated', () => {
      asked++
      if (asked > 20) throw new Error('driver bug')
    })
    dma.pinPages(0, 1, DMA_READ)
    expect(() => type1.unmapDma(mm, 0, 0, PAGE)).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    const before = asked
    asked = 21
    expect(() => type1.unmapDma(mm, 0, 0, PAGE)).toThrow('driver bug')
    expect(before).toBeGreaterThan(1)
    type1.closeDevice(dma)
    expect(type1.unmapDma(mm, 0, 0, PAGE)).toBe(4096n)
    type1.close()
  })

  it('reports dirty pages to user memory and to arrays', () => {
    const { mm, memory, vaddr, type1 } = machine('emulated')
    type1.mapDma(mm, RW, vaddr, 0, 64 * PAGE)
    type1.dirtyStart()
    const dma = type1.openDevice(1, 'mdev', 'emulated', () => {})
    dma.write(5 * PAGE, Uint8Array.of(1))
    const bitmap = new Uint8Array(8)
    type1.dirtyGetBitmap(0, 64 * PAGE, { pageSize: PAGE, size: 8, target: bitmap })
    expect([...bitmap]).toEqual([0x20, 0, 0, 0, 0, 0, 0, 0])
    dma.write(9 * PAGE, Uint8Array.of(1))
    type1.dirtyGetBitmap(0, 64 * PAGE, { pageSize: PAGE, size: 8, target: { mm, address: vaddr } })
    expect(memory.readU32(0)).toBe(0x200)
    dma.write(11 * PAGE, Uint8Array.of(1))
    const unmapped = type1.unmapDma(mm, 1, 0, 64 * PAGE, { pageSize: PAGE, size: 8, target: bitmap })
    expect(unmapped).toBe(64n * 4096n)
    expect([...bitmap.subarray(0, 2)]).toEqual([0, 8])
    type1.dirtyStop()
    const place = { pageSize: PAGE, size: 8, target: { mm, address: 0x1000 } }
    expect(() => type1.dirtyGetBitmap(0, PAGE, place)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    type1.close()
  })

  it('explains refused DMA, and tells a listener', async () => {
    const { mm, vaddr, type1 } = machine()
    type1.mapDma(mm, 1, vaddr, 0, PAGE)
    const dma = type1.openDevice(1, 'card', 'iommu')
    const log = type1.faults()
    const heard: string[] = []
    log.setListener((fault) => heard.push(`${fault.sequence} ${fault.reason} ${fault.iova}`))
    dma.writeU32(0, 1)
    dma.readU32(0x5000)
    expect(heard).toEqual([])
    await vi.waitFor(() => expect(heard).toEqual(['1 permission 0', '2 no-mapping 20480']))
    expect(log.total()).toBe(2n)
    expect(log.records()[1]).toMatchObject({
      sequence: 2n,
      device: 'card',
      iova: 0x5000n,
      length: 4n,
      access: 'read',
      reason: 'no-mapping',
      below: { start: 0n, last: 0xfffn },
      text: expect.stringContaining('card: DMA read of 0x4 bytes at 0x5000 refused'),
    })
    log.setListener(undefined)
    log.setCapacity(1)
    expect(log.records().map((fault) => fault.sequence)).toEqual([2n])
    log.clear()
    expect(log.records()).toEqual([])
    expect(() => log.setListener(5 as never)).toThrow(TypeError)
    expect(() => log.setCapacity(-1)).toThrow(RangeError)
    type1.close()
  })

  it("maps JavaScript's own memory, and faults once it is gone", () => {
    const { mm, type1 } = machine()
    const buffer = new ArrayBuffer(2 * PAGE)
    const memory = NativeMemory.fromBuffer(buffer, 0, 2 * PAGE)
    const vaddr = mm.map({ memory, offset: 0, length: 2 * PAGE, read: true, write: true })
    expect(type1.mapDma(mm, RW, vaddr, 0, 2 * PAGE)).toBe(0)
    memory.close()
    const dma = type1.openDevice(1, 'card', 'iommu')
    dma.writeU32(4, 77)
    expect(new Uint32Array(buffer)[1]).toBe(77)
    const bytes = new Uint8Array(buffer)
    bytes.set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 0)
    expect(dma.read(0, bytes.subarray(2, 14))).toBe(0)
    expect([...bytes.subarray(0, 14)]).toEqual([1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    structuredClone(buffer, { transfer: [buffer] })
    expect(dma.readU32(4)).toBe(EFAULT)
    expect(type1.faults().records().at(-1)).toMatchObject({ reason: 'detached' })
    expect(type1.unmapDma(mm, 0, 0, 2 * PAGE)).toBe(8192n)
    type1.close()
  })

  it('refuses wrong shapes, and does nothing then', () => {
    const { mm, vaddr, type1 } = machine()
    const wrong = type1 as unknown as Record<string, (...values: unknown[]) => unknown>
    const calls: (() => unknown)[] = [
      () => new NativeType1('x' as never, 1),
      () => new NativeType1(true, -1),
      () => wrong['attachHw']!(1),
      () => wrong['attachHw']!(-1, X86),
      () => wrong['attachHw']!(2, { ...X86, pgsizes: 'x' }),
      () => wrong['attachHw']!(2, { ...X86, reserved: [{ start: 0n, last: 1n, kind: 'nonsense' }] }),
      () => wrong['attachHw']!(2, { ...X86, reserved: [5] }),
      () => wrong['attachHw']!(2, { ...X86, apertureStart: 5n, apertureLast: 4n }),
      () => wrong['mapDma']!({}, RW, vaddr, 0, PAGE),
      () => wrong['mapDma']!(mm, '3', vaddr, 0, PAGE),
      () => wrong['mapDma']!(mm, -1, vaddr, 0, PAGE),
      () => wrong['mapDma']!(mm, RW, vaddr, 0),
      () => wrong['unmapDma']!(mm, 0, 0, PAGE, { pageSize: 4096, size: 8, target: {} }),
      () => wrong['unmapDma']!(mm, 0, 0, PAGE, { pageSize: 4096, size: 8, target: { mm, address: 'x' } }),
      () => wrong['unmapDma']!(mm, 0, 0, PAGE, {}),
      () => wrong['mapDmaBatch']!(mm, RW, [1n, 2n, 3n]),
      () => wrong['mapDmaBatch']!(mm, RW, new BigUint64Array(3), new Uint8Array(1)),
      () => wrong['openDevice']!(1, 5, 'iommu'),
      () => wrong['openDevice']!(1, 'x', 'other'),
      () => wrong['openDevice']!(1, 'x', 'iommu', 5),
      () => wrong['closeDevice']!({}),
      () => wrong['checkExtension']!('1'),
    ]
    for (const call of calls) expect(call, call.toString()).toThrow()
    expect(type1.mappings()).toBe(0)
    type1.close()
  })

  it('answers whatever it is given', () => {
    const { mm, vaddr, type1 } = machine('hw')
    type1.attachEmulated(2)
    const dma = type1.openDevice(1, 'card', 'iommu')
    const mdev = type1.openDevice(2, 'mdev', 'emulated', () => {})
    const edges = [
      0n,
      1n,
      4095n,
      4096n,
      8192n,
      1n << 20n,
      (1n << 48n) - 4096n,
      (1n << 63n) - 1n,
      (1n << 64n) - 4096n,
      (1n << 64n) - 1n,
    ]
    const value = fc.oneof(fc.constantFrom(...edges), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.constant(vaddr))
    const flags = fc.nat(15)
    const bytes = new Uint8Array(64)
    fc.assert(
      fc.property(fc.nat(9), flags, value, value, value, (op, flag, a, b, c) => {
        const quietly = (run: () => unknown): void => {
          try {
            run()
          } catch (error) {
            expect((error as { code: string }).code).toMatch(/^(E[A-Z]+|ERR_OUT_OF_RANGE)$/)
          }
        }
        quietly(() => {
          switch (op) {
            case 0:
            case 1:
              return type1.mapDma(mm, flag, a, b, c)
            case 2:
              return type1.unmapDma(mm, flag, a, b)
            case 3:
              return type1.unmapDma(mm, flag, a, b, { pageSize: c, size: 8, target: bytes })
            case 4:
              return type1.dirtyGetBitmap(a, b, { pageSize: 4096, size: c, target: { mm, address: vaddr } })
            case 5:
              return [dma.read(a, bytes), dma.write(b, bytes), dma.fetchAdd64(c, 1)]
            case 6:
              return [mdev.read(a, bytes), mdev.write(b, bytes), mdev.pinPages(c, flag, 3)]
            case 7:
              return [mdev.unpinPages(a, flag), dma.fill(b, c & 0xfffn, flag)]
            case 8:
              return flag & 1 ? type1.dirtyStart() : type1.dirtyStop()
            default:
              return [dma.readBatch(BigUint64Array.of(a, b), bytes), dma.translate(c, 3), mm.write(a, bytes)]
          }
        })
      }),
      { numRuns: 2000 },
    )
    type1.close()
    mm.close()
  })
})
