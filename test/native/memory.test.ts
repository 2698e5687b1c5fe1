import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { addon } from '../../ts/native/load.ts'
import type { NativeMemory } from '../../ts/native/addon.ts'

const { NativeMemory } = addon()
const EFAULT = -14
const EBADF = -9
const EINVAL = -22

function bytesOf(memory: NativeMemory, offset: number, length: number): number[] {
  const into = new Uint8Array(length)
  expect(memory.read(offset, into)).toBe(0)
  return [...into]
}

function collect(): void {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  for (let i = 0; i < 3; i++) gc()
}

describe('native memory', () => {
  it('starts zeroed and keeps what is written', () => {
    const memory = NativeMemory.anonymous(8192n)
    expect(memory).toMatchObject({ length: 8192, kind: 'anonymous' })
    expect(memory.fd()).toBe(-1)
    expect(bytesOf(memory, 4090, 12)).toEqual(Array(12).fill(0))
    expect(memory.write(4094, Uint8Array.of(1, 2, 3, 4))).toBe(0)
    expect(bytesOf(memory, 4093, 6)).toEqual([0, 1, 2, 3, 4, 0])
    expect(memory.readU32(4094n)).toBe(0x04030201)
    memory.close()
  })

  it('answers EFAULT outside, with every accessor, and changes nothing', () => {
    const memory = NativeMemory.anonymous(4096n)
    expect(memory.read(4095, new Uint8Array(2))).toBe(EFAULT)
    expect(memory.read(2n ** 64n - 1n, new Uint8Array(2))).toBe(EFAULT)
    expect(memory.write(4095, Uint8Array.of(1, 2))).toBe(EFAULT)
    expect(memory.fill(1, 4096, 7)).toBe(EFAULT)
    expect(memory.copy(0, memory, 1, 4096)).toBe(EFAULT)
    expect(memory.readU8(4096)).toBe(EFAULT)
    expect(memory.readU64(4089)).toBe(-14n)
    expect(memory.writeU64(4089, 0n)).toBe(EFAULT)
    expect(memory.fetchAdd64(4096, 1)).toBe(-14n)
    expect(memory.compareExchange32(2, 0, 1)).toBe(EINVAL)
    expect(bytesOf(memory, 0, 4096).every((byte) => byte === 0)).toBe(true)
    memory.close()
  })

  it('has atomic operations that answer what was there', () => {
    const memory = NativeMemory.anonymous(4096n)
    expect(memory.fetchAdd32(0, 0xffff_ffff)).toBe(0)
    expect(memory.fetchAdd32(0, 2)).toBe(0xffff_ffff)
    expect(memory.compareExchange32(0, 1, 9)).toBe(1)
    expect(memory.readU32(0)).toBe(9)
    expect(memory.compareExchange64(8, 5, 6)).toBe(0n)
    expect(memory.fetchAdd64(8, 2n ** 64n - 1n)).toBe(0n)
    expect(memory.readU64(8)).toBe(2n ** 64n - 1n)
    memory.close()
  })

  it('answers EBADF once closed, and may be closed again', () => {
    const memory = NativeMemory.anonymous(4096n)
    memory.close()
    memory.close()
    expect(memory.readU32(0)).toBe(EBADF)
    expect(memory.readU64(0)).toBe(-9n)
    expect(() => memory.fd()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => memory.share()).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })

  it('puts a memfd behind a descriptor', (ctx) => {
    if (process.platform !== 'linux') ctx.skip(`${process.platform} has no memfds`)
    const memory = NativeMemory.memfd('test', 4096n)
    expect(memory.kind).toBe('memfd')
    expect(memory.fd()).toBeGreaterThan(2)
    memory.close()
  })

  it('refuses senseless sizes', () => {
    expect(() => NativeMemory.anonymous(0n)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => NativeMemory.anonymous(2n ** 63n)).toThrow(expect.objectContaining({ code: 'ENOMEM' }))
    expect(() => NativeMemory.adopt(12345n)).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })

  it('refuses wrong shapes at the call', () => {
    const memory = NativeMemory.anonymous(4096n)
    const type = expect.objectContaining({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' })
    const range = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' })
    const wrong = memory as unknown as Record<string, (...values: unknown[]) => unknown>
    for (const offset of [undefined, null, '0', {}, [], true, Symbol('x'), () => 0]) {
      expect(() => wrong['readU32']!(offset)).toThrow(type)
      expect(() => wrong['read']!(offset, new Uint8Array(1))).toThrow(type)
    }
    for (const offset of [-1, 0.5, NaN, Infinity, -Infinity, 2 ** 53, -1n, 2n ** 64n, -(2n ** 70n)]) {
      expect(() => wrong['readU32']!(offset)).toThrow(range)
    }
    for (const into of [
      undefined,
      null,
      5,
      [],
      new ArrayBuffer(4),
      new DataView(new ArrayBuffer(4)),
      new Uint16Array(2),
    ]) {
      expect(() => wrong['read']!(0, into)).toThrow(type)
    }
    for (const value of [-1, 256, 0.5, NaN]) expect(() => wrong['writeU8']!(0, value)).toThrow(range)
    expect(() => wrong['writeU32']!(0, 1n)).toThrow(type)
    expect(() => wrong['copy']!(0, { handle: 1 }, 0, 1)).toThrow(type)
    expect(() => wrong['sameObject']!({})).toThrow(type)
    expect(() => wrong['read']!()).toThrow(type)
    memory.close()
  })

  it('names the argument that is wrong', () => {
    const memory = NativeMemory.anonymous(4096n)
    expect(() => memory.readU32('1' as never)).toThrow('The "offset" argument must be a bigint or a safe integer')
    memory.close()
  })
})

describe("JavaScript's own memory", () => {
  it('is the same bytes', () => {
    for (const buffer of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
      const bytes = new Uint8Array(buffer)
      const memory = NativeMemory.fromBuffer(buffer, 16, 32)
      expect(memory).toMatchObject({ kind: 'buffer', length: 32 })
      bytes[16] = 7
      expect(memory.readU8(0)).toBe(7)
      memory.writeU32(28, 0xaabbccdd)
      expect([...bytes.subarray(44, 49)]).toEqual([0xdd, 0xcc, 0xbb, 0xaa, 0])
      expect(memory.readU8(32)).toBe(EFAULT)
      memory.close()
    }
  })

  it('refuses a part that is not inside, and what is no buffer', () => {
    for (const buffer of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
      for (const [offset, length] of [
        [0, 0],
        [64, 1],
        [0, 65],
        [2n ** 64n - 1n, 2],
      ] as const) {
        expect(() => NativeMemory.fromBuffer(buffer, offset, length)).toThrow(
          expect.objectContaining({ code: 'EINVAL' }),
        )
      }
    }
    for (const wrong of [null, undefined, 5, 'x', {}, new Uint8Array(4)]) {
      expect(() => NativeMemory.fromBuffer(wrong as never, 0, 1)).toThrow(TypeError)
    }
  })

  it('answers EFAULT after the buffer was transferred away', () => {
    const buffer = new ArrayBuffer(64)
    const memory = NativeMemory.fromBuffer(buffer, 0, 64)
    const moved = structuredClone(buffer, { transfer: [buffer] })
    expect(moved.byteLength).toBe(64)
    expect(memory.readU32(0)).toBe(EFAULT)
    expect(memory.write(0, Uint8Array.of(1))).toBe(EFAULT)
    expect(memory.length).toBe(64)
    memory.close()
  })

  it('answers EFAULT beyond the end of a buffer that shrank, and sees it grow again', () => {
    const Resizable = ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void }
    const buffer = new Resizable(64, { maxByteLength: 128 })
    const memory = NativeMemory.fromBuffer(buffer, 32, 32)
    buffer.resize(40)
    expect(memory.writeU32(0, 5)).toBe(0)
    expect(memory.writeU32(8, 5)).toBe(EFAULT)
    buffer.resize(16)
    expect(memory.readU8(0)).toBe(EFAULT)
    buffer.resize(128)
    expect(memory.writeU32(28, 5)).toBe(0)
    expect(memory.readU8(32)).toBe(EFAULT)
    memory.close()
  })

  it('follows an unshared WebAssembly.Memory as it grows; its old buffer is gone', () => {
    const { WebAssembly } = globalThis as never as {
      WebAssembly: { Memory: new (size: object) => { buffer: ArrayBuffer; grow(by: number): number } }
    }
    const wasm = new WebAssembly.Memory({ initial: 1, maximum: 4 })
    const memory = NativeMemory.fromBuffer(wasm, 0, 65536)
    const old = NativeMemory.fromBuffer(wasm.buffer, 0, 65536)
    memory.writeU32(100, 42)
    expect(old.readU32(100)).toBe(42)
    wasm.grow(1)
    expect(memory.readU32(100)).toBe(42)
    new Uint8Array(wasm.buffer)[101] = 1
    expect(memory.readU32(100)).toBe(42 + 256)
    expect(old.readU32(100)).toBe(EFAULT)
    expect(memory.readU8(65536)).toBe(EFAULT)
    memory.close()
    old.close()
  })

  it('keeps a shared WebAssembly.Memory', () => {
    const { WebAssembly } = globalThis as never as {
      WebAssembly: { Memory: new (size: object) => { buffer: ArrayBuffer; grow(by: number): number } }
    }
    const wasm = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true } as never)
    const memory = NativeMemory.fromBuffer(wasm, 0, 65536)
    wasm.grow(1)
    memory.writeU32(0, 9)
    expect(new Uint32Array(wasm.buffer)[0]).toBe(9)
    memory.close()
  })

  it('runs no code of a forged WebAssembly.Memory', () => {
    const { WebAssembly } = globalThis as never as { WebAssembly: { Memory: { prototype: object } } }
    let reads = 0
    const forged = Object.create(WebAssembly.Memory.prototype, {
      buffer: {
        get() {
          reads++
          return new ArrayBuffer(16)
        },
      },
    }) as never
    expect(() => NativeMemory.fromBuffer(forged, 0, 16)).toThrow()
    expect(reads).toBeLessThanOrEqual(1)
  })

  it('is held while it is in use, and let go afterwards', async () => {
    const registered: string[] = []
    const registry = new FinalizationRegistry<string>((name) => registered.push(name))
    const make = (name: string): NativeMemory => {
      const buffer = new ArrayBuffer(1 << 16)
      registry.register(buffer, name)
      new Uint8Array(buffer).fill(3)
      return NativeMemory.fromBuffer(buffer, 0, 1 << 16)
    }
    const kept = make('kept')
    make('closed').close()
    for (let i = 0; i < 20 && registered.length === 0; i++) {
      collect()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    expect(registered).toEqual(['closed'])
    expect(bytesOf(kept, 65528, 8)).toEqual(Array(8).fill(3))
    kept.close()
  })

  it('is copied right where source and destination overlap', () => {
    const buffer = new ArrayBuffer(256)
    const bytes = new Uint8Array(buffer)
    const fresh = (): void => bytes.set(Array.from({ length: 256 }, (_, i) => i))
    const memory = NativeMemory.fromBuffer(buffer, 0, 256)
    fresh()
    expect(memory.read(0, bytes.subarray(3, 203))).toBe(0)
    expect([...bytes.subarray(3, 203)]).toEqual(Array.from({ length: 200 }, (_, i) => i))
    fresh()
    expect(memory.write(5, bytes.subarray(0, 200))).toBe(0)
    expect([...bytes.subarray(5, 205)]).toEqual(Array.from({ length: 200 }, (_, i) => i))
    fresh()
    expect(memory.copy(0, memory, 7, 200)).toBe(0)
    expect([...bytes.subarray(7, 207)]).toEqual(Array.from({ length: 200 }, (_, i) => i))
    memory.close()
  })

  it('takes shared bytes as source and destination', () => {
    const memory = NativeMemory.anonymous(4096n)
    const shared = new Uint8Array(new SharedArrayBuffer(100)).fill(9)
    expect(memory.write(10, shared)).toBe(0)
    shared.fill(0)
    expect(memory.read(9, shared)).toBe(0)
    expect([shared[0], shared[1], shared[99]]).toEqual([0, 9, 9])
    memory.close()
  })

  it('takes arrays of detached and resized buffers as what they are: empty', () => {
    const memory = NativeMemory.anonymous(4096n)
    const view = new Uint8Array(16)
    structuredClone(view.buffer, { transfer: [view.buffer] })
    expect(memory.read(0, view)).toBe(0)
    expect(memory.write(4096, view)).toBe(0)
    expect(memory.write(4097, view)).toBe(EFAULT)
    memory.close()
  })
})
