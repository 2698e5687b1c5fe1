import { existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { outcome } from '../outcome.ts'

const refused = (code: string): unknown => expect.objectContaining({ name: 'VfioError', code })

describe('HostMemory', () => {
  it('is allocated in whole pages, zeroed', () => {
    using memory = HostMemory.allocate(5000)
    expect(memory).toMatchObject({ byteLength: 8192, kind: 'anonymous', fd: undefined })
    expect(memory.read(0, 8192).every((byte) => byte === 0)).toBe(true)
  })

  describe.skipIf(process.platform !== 'linux')('of huge pages', () => {
    const page = 2 << 20
    const free = (): number => {
      const file = `/sys/kernel/mm/hugepages/hugepages-${page / 1024}kB/free_hugepages`
      return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
    }

    it.each(['anonymous', 'memfd'] as const)('is there as far as the system has some in reserve (%s)', (kind) => {
      const kept = () => {
        using memory = HostMemory.allocate(5000, { kind, hugePages: page })
        memory.writeU32(page - 4, 7)
        return { length: memory.byteLength, kind: memory.kind, value: memory.readU32(page - 4) }
      }
      expect(outcome(kept)).toEqual(free() < 1 ? 'ENOMEM' : { length: page, kind, value: 7 })
    })

    it.each(['anonymous', 'memfd'] as const)('says what to do where there are too few (%s)', (kind) => {
      expect(() => HostMemory.allocate(1n << 44n, { kind, hugePages: page })).toThrow(
        expect.objectContaining({ code: 'ENOMEM', remedy: expect.stringContaining('nr_hugepages') }),
      )
    })

    it('refuses sizes that the system does not know', () => {
      for (const hugePages of [0, 4096, 3 << 20, 1n << 50n]) {
        expect(() => HostMemory.allocate(4096, { hugePages })).toThrow(refused('EINVAL'))
        expect(() => HostMemory.allocate(4096, { kind: 'memfd', hugePages })).toThrow(refused('EINVAL'))
      }
      expect(() => HostMemory.allocate(4096, { hugePages: 'big' as never })).toThrow(TypeError)
    })
  })

  it('keeps what is written, little endian', () => {
    using memory = HostMemory.allocate(4096)
    memory.writeU8(0, 0xff)
    memory.writeU16(2, 0x1234)
    memory.writeU32(4n, 0xdeadbeef)
    memory.writeU64(8, 0x1122334455667788n)
    memory.write(16, Uint16Array.of(0x0201))
    expect([...memory.read(0, 18)]).toEqual([
      0xff, 0, 0x34, 0x12, 0xef, 0xbe, 0xad, 0xde, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 1, 2,
    ])
    expect([memory.readU8(0), memory.readU16(2), memory.readU32(4), memory.readU64(8)]).toEqual([
      0xff,
      0x1234,
      0xdeadbeef,
      0x1122334455667788n,
    ])
    memory.writeU64(24, 7)
    const into = new DataView(new ArrayBuffer(8))
    memory.copyTo(into, 24)
    expect(into.getBigUint64(0, true)).toBe(7n)
  })

  it('copies between memories and within one', () => {
    using one = HostMemory.allocate(4096)
    using other = HostMemory.from(new SharedArrayBuffer(16))
    one.write(
      0,
      Uint8Array.from({ length: 16 }, (_, i) => i),
    )
    other.copyFrom(one)
    expect([...other.read(0, 16)]).toEqual([...one.read(0, 16)])
    one.copyFrom(one, { offset: 4, sourceOffset: 0, length: 12 })
    expect([...one.read(0, 16)]).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
  })

  it('fills all behind an offset, or as much as told', () => {
    using memory = HostMemory.allocate(4096)
    memory.fill(7, 4094)
    memory.fill(9, 0, 2)
    expect([...memory.read(0, 3)]).toEqual([9, 9, 0])
    expect([...memory.read(4093, 3)]).toEqual([0, 7, 7])
    expect(() => memory.fill(1, 5000)).toThrow(refused('EFAULT'))
    expect(() => memory.fill(1, 4000, 97)).toThrow(refused('EFAULT'))
  })

  it('takes buffers, parts of them, and views', () => {
    const buffer = new ArrayBuffer(64)
    using whole = HostMemory.from(buffer)
    using part = HostMemory.from(buffer, { offset: 8, length: 8 })
    using rest = HostMemory.from(buffer, { offset: 60n })
    using view = HostMemory.from(new Uint16Array(buffer, 16, 4))
    using inner = HostMemory.from(new Uint8Array(buffer, 16, 8), { offset: 2, length: 2 })
    expect([whole, part, rest, view, inner].map((memory) => memory.byteLength)).toEqual([64, 8, 4, 8, 2])
    view.writeU16(2, 0xabcd)
    expect(inner.readU16(0)).toBe(0xabcd)
    expect(whole.readU16(18)).toBe(0xabcd)
    for (const bad of [
      { offset: 64 },
      { length: 0 },
      { offset: 60, length: 5 },
      { offset: 2n ** 64n - 1n, length: 2 },
    ]) {
      expect(() => HostMemory.from(buffer, bad)).toThrow(refused('EINVAL'))
    }
  })

  it('names operation and address in its errors', () => {
    using memory = HostMemory.allocate(4096)
    expect(() => memory.readU32(4094)).toThrow(
      expect.objectContaining({ code: 'EFAULT', errno: -14, syscall: 'HostMemory.readU32', address: 4094n }),
    )
    expect(() => memory.readU64(2n ** 64n - 4n)).toThrow(refused('EFAULT'))
    expect(() => memory.read(0, 4097)).toThrow(refused('EFAULT'))
    expect(() => memory.copyTo(new Uint8Array(2), 4095)).toThrow(refused('EFAULT'))
  })

  it('refuses wrong shapes with a TypeError or RangeError', () => {
    using memory = HostMemory.allocate(4096)
    const calls: (() => unknown)[] = [
      () => HostMemory.allocate('1' as never),
      () => HostMemory.allocate(-1),
      () => HostMemory.allocate(1.5),
      () => HostMemory.allocate(1, { kind: 'rubber' as never }),
      () => HostMemory.allocate(1, { kind: 'memfd', name: 5 as never }),
      () => HostMemory.from(null as never),
      () => HostMemory.from({} as never),
      () => HostMemory.from({ buffer: new ArrayBuffer(4) } as never),
      () => HostMemory.from(new ArrayBuffer(4), { offset: '1' as never }),
      () => memory.read('0' as never, 1),
      () => memory.read(0, -1),
      () => memory.read(0, '1' as never),
      () => memory.write(0, [1] as never),
      () => memory.write(-1, new Uint8Array(1)),
      () => memory.copyTo('x' as never),
      () => memory.copyFrom({} as never),
      () => memory.readU32(undefined as never),
      () => memory.writeU8(0, 256),
      () => memory.writeU16(0, -1),
      () => memory.writeU32(0, 2 ** 32),
      () => memory.writeU64(0, 2n ** 64n),
      () => memory.writeU64(0, -1n),
      () => memory.fill('x' as never),
    ]
    for (const call of calls) {
      expect(call, call.toString()).toThrow(expect.objectContaining({ code: expect.stringMatching(/^ERR_/) }))
      expect(call, call.toString()).toThrow(/argument|value/)
    }
    expect(memory.read(0, 4096).every((byte) => byte === 0)).toBe(true)
  })

  it('answers EBADF once closed, and may be closed again', () => {
    const memory = HostMemory.allocate(4096)
    memory.close()
    memory.close()
    const calls = [
      () => memory.read(0, 1),
      () => memory.readU64(0),
      () => memory.write(0, new Uint8Array(1)),
      () => memory.fill(0),
      () => memory.fd,
    ]
    for (const call of calls) expect(call).toThrow(refused('EBADF'))
  })

  it('does not run out of memory when handles are forgotten', () => {
    const allocate = (): void => {
      for (let i = 0; i < 2000; i++) HostMemory.allocate(16 << 20).writeU8(0, 1)
    }
    expect(allocate).not.toThrow()
  })

  it('behaves as an array of bytes does', () => {
    const SIZE = 4096
    const offset = fc.oneof(
      fc.nat(SIZE - 1),
      fc.integer({ min: SIZE - 12, max: SIZE + 12 }),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    )
    const width = fc.constantFrom(1, 2, 4, 8)
    const step = fc.oneof(
      fc.record({ op: fc.constant('read' as const), offset, length: fc.nat(64) }),
      fc.record({ op: fc.constant('write' as const), offset, data: fc.uint8Array({ maxLength: 64 }) }),
      fc.record({ op: fc.constant('load' as const), offset, width }),
      fc.record({
        op: fc.constant('store' as const),
        offset,
        width,
        value: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      }),
      fc.record({ op: fc.constant('fill' as const), offset, length: fc.nat(100), value: fc.nat(255) }),
      fc.record({ op: fc.constant('copy' as const), offset, source: offset, length: fc.nat(100) }),
    )
    const sources = [
      () => HostMemory.allocate(SIZE),
      () => HostMemory.from(new ArrayBuffer(SIZE)),
      () => HostMemory.from(new SharedArrayBuffer(SIZE + 3), { offset: 3 }),
    ]
    fc.assert(
      fc.property(fc.constantFrom(...sources), fc.array(step, { maxLength: 60 }), (make, steps) => {
        using memory = make()
        const model = new Uint8Array(SIZE)
        for (const s of steps) {
          const length = s.op === 'write' ? s.data.length : s.op === 'load' || s.op === 'store' ? s.width : s.length
          const at = Number(s.offset)
          const inside = BigInt(s.offset) + BigInt(length) <= BigInt(SIZE)
          const sourceInside = s.op !== 'copy' || BigInt(s.source) + BigInt(length) <= BigInt(SIZE)
          const run = (): unknown => {
            switch (s.op) {
              case 'read':
                return [...memory.read(s.offset, s.length)]
              case 'write':
                return memory.write(s.offset, s.data)
              case 'fill':
                return memory.fill(s.value, s.offset, s.length)
              case 'copy':
                return memory.copyFrom(memory, { offset: s.offset, sourceOffset: s.source, length: s.length })
              case 'load':
                return BigInt(
                  s.width === 8
                    ? memory.readU64(s.offset)
                    : s.width === 4
                      ? memory.readU32(s.offset)
                      : s.width === 2
                        ? memory.readU16(s.offset)
                        : memory.readU8(s.offset),
                )
              case 'store': {
                const value = BigInt.asUintN(s.width * 8, s.value)
                if (s.width === 8) memory.writeU64(s.offset, value)
                else if (s.width === 4) memory.writeU32(s.offset, Number(value))
                else if (s.width === 2) memory.writeU16(s.offset, Number(value))
                else memory.writeU8(s.offset, Number(value))
              }
            }
          }
          const number = (): bigint =>
            model.subarray(at, at + length).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
          const expected = (): unknown => {
            if (!inside || !sourceInside) return 'EFAULT'
            if (s.op === 'read') return [...model.subarray(at, at + length)]
            return s.op === 'load' ? number() : undefined
          }
          expect(answerOf(run)).toEqual(expected())
          if (!inside || !sourceInside) continue
          if (s.op === 'write') model.set(s.data, at)
          if (s.op === 'fill') model.fill(s.value, at, at + length)
          if (s.op === 'copy') model.copyWithin(at, Number(s.source), Number(s.source) + length)
          if (s.op === 'store')
            for (let i = 0; i < s.width; i++) model[at + i] = Number((s.value >> BigInt(8 * i)) & 0xffn)
        }
        expect(Buffer.from(memory.read(0, SIZE)).equals(Buffer.from(model))).toBe(true)
      }),
      { numRuns: 300 },
    )
  })
})

/** What a call answers: its value, or the code that it is refused with. */
function answerOf(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}
