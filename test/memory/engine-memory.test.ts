/** Guest memory that the engine allocated, mapped and reached by a device's DMA, while it moves, shrinks and goes away. */
import { describe, expect, it } from 'vitest'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { eduMachine } from './edu-machine.ts'
import { collectUntil } from './garbage.ts'

interface WasmMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
  grow(pages: number): number
}
const { WebAssembly } = globalThis as never as {
  WebAssembly: { Memory: new (size: { initial: number; maximum: number; shared?: boolean }) => WasmMemory }
}
const Resizable = ArrayBuffer as unknown as new (
  length: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(length: number): void }

const WASM_PAGE = 65536
const SIZE = WASM_PAGE
const HALF = SIZE / 2
const bytesOf = (buffer: ArrayBuffer | SharedArrayBuffer): Uint8Array => new Uint8Array(buffer)
const pattern = (length: number, seed: number): number[] => Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff)
const gone = expect.objectContaining({
  code: 'EFAULT',
  message: expect.stringMatching(/transferred away, or has shrunk; keep memory for DMA in/),
})

describe('DMA into memory of the engine', () => {
  const sources: [string, () => { buffer(): ArrayBuffer | SharedArrayBuffer; memory: HostMemory }][] = [
    [
      'an ArrayBuffer',
      () => {
        const buffer = new ArrayBuffer(SIZE)
        return { buffer: () => buffer, memory: HostMemory.from(buffer) }
      },
    ],
    [
      'a SharedArrayBuffer',
      () => {
        const buffer = new SharedArrayBuffer(SIZE)
        return { buffer: () => buffer, memory: HostMemory.from(buffer) }
      },
    ],
    [
      'a WebAssembly.Memory',
      () => {
        const wasm = new WebAssembly.Memory({ initial: 1, maximum: 8 })
        return { buffer: () => wasm.buffer, memory: HostMemory.from(wasm) }
      },
    ],
    [
      'a shared WebAssembly.Memory',
      () => {
        const wasm = new WebAssembly.Memory({ initial: 1, maximum: 8, shared: true })
        return { buffer: () => wasm.buffer, memory: HostMemory.from(wasm) }
      },
    ],
  ]
  it.each(sources)('reads and writes %s', (_, make) => {
    using machine = eduMachine()
    const { buffer, memory } = make()
    machine.container.mapDma({ iova: 0, memory, read: true, write: true })
    bytesOf(buffer()).set(pattern(4096, 3), 100)
    machine.copy(100, HALF, 4096)
    expect([...bytesOf(buffer()).subarray(HALF, HALF + 4096)]).toEqual(pattern(4096, 3))
    expect(machine.container.faults.total).toBe(0n)
    memory.close()
    machine.copy(HALF, 0, 16) // what is mapped stays reachable
    expect([...bytesOf(buffer()).subarray(0, 16)]).toEqual(pattern(16, 3))
  })

  it('follows a WebAssembly.Memory that grows, again and again', () => {
    using machine = eduMachine()
    const wasm = new WebAssembly.Memory({ initial: 1, maximum: 64 })
    using memory = HostMemory.from(wasm)
    machine.container.mapDma({ iova: 0, memory, read: true, write: true })
    for (let round = 0; round < 20; round++) {
      const before = wasm.buffer
      bytesOf(before).set(pattern(64, round), 0)
      wasm.grow(3)
      expect(before.byteLength).toBe(0)
      machine.copy(0, HALF, 64)
      expect([...bytesOf(wasm.buffer).subarray(HALF, HALF + 64)]).toEqual(pattern(64, round))
      expect([...memory.view().subarray(HALF, HALF + 64)]).toEqual(pattern(64, round))
    }
    expect(machine.container.faults.total).toBe(0n)
  })

  it('refuses a buffer that was transferred away, and says so', () => {
    using machine = eduMachine()
    const buffer = new ArrayBuffer(SIZE)
    using memory = HostMemory.from(buffer)
    machine.container.mapDma({ iova: 0, memory, read: true, write: true })
    bytesOf(buffer).set(pattern(16, 1))
    const moved = structuredClone(buffer, { transfer: [buffer] })
    machine.copy(0, HALF, 16)
    expect(machine.container.faults.records().map(({ reason, access }) => [reason, access])).toEqual([
      ['detached', 'read'],
      ['detached', 'write'],
    ])
    expect(machine.container.faults.explain()).toMatch(/the memory behind the mapping is gone/)
    expect([...bytesOf(moved).subarray(HALF, HALF + 16)]).toEqual(Array(16).fill(0))
    for (const access of [
      () => memory.read(0, 1),
      () => memory.readU64(0),
      () => memory.write(0, new Uint8Array(1)),
      () => memory.copyTo(new Uint8Array(1)),
      () => memory.fill(0),
      () => memory.view(),
    ]) {
      expect(access, access.toString()).toThrow(gone)
    }
    expect([...bytesOf(moved).subarray(0, 16)]).toEqual(pattern(16, 1))
  })

  it('takes no part in what a buffer shrank to, until that grows again', () => {
    using machine = eduMachine()
    const buffer = new Resizable(SIZE, { maxByteLength: SIZE })
    using memory = HostMemory.from(buffer)
    machine.container.mapDma({ iova: 0, memory, read: true, write: true })
    bytesOf(buffer).set(pattern(16, 1))
    buffer.resize(HALF + 8)
    machine.copy(0, HALF, 8)
    expect(machine.container.faults.total).toBe(0n)
    machine.copy(0, HALF, 9)
    expect(machine.container.faults.records().map(({ reason, access }) => [reason, access])).toEqual([
      ['detached', 'write'],
    ])
    expect(() => memory.readU8(HALF + 8)).toThrow(gone)
    expect(memory.readU8(HALF + 7)).toBe(pattern(16, 1)[7])
    buffer.resize(0)
    expect(() => memory.readU8(0)).toThrow(gone)
    buffer.resize(SIZE)
    expect(memory.readU8(0)).toBe(0)
    machine.copy(0, HALF, 9)
    expect(machine.container.faults.total).toBe(1n)
  })

  it('keeps a buffer that only a mapping refers to, and lets it go with the mapping', async () => {
    using machine = eduMachine()
    const collected: string[] = []
    const registry = new FinalizationRegistry<string>((name) => collected.push(name))
    const lend = (name: string, iova: number): void => {
      const buffer = new SharedArrayBuffer(4096)
      bytesOf(buffer).set(pattern(64, iova & 0xff))
      registry.register(buffer, name)
      HostMemory.from(buffer).close() // of another handle
      using memory = HostMemory.from(buffer)
      machine.container.mapDma({ iova, memory, read: true, write: true })
    }
    lend('first', 0)
    lend('second', 0x1000)
    expect(await collectUntil(() => collected.length > 0, 5)).toBe(false)
    machine.copy(0, 0x1000, 64)
    expect(machine.container.faults.total).toBe(0n)
    machine.container.unmapDma({ iova: 0, length: 4096 })
    expect(await collectUntil(() => collected.length > 0)).toBe(true)
    expect(collected).toEqual(['first'])
    machine.copy(0x1000, 0x1100, 64) // the other one is still there
    expect(machine.container.faults.total).toBe(0n)
  })
})
