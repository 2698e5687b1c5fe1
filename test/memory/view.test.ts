/** Views on memory without a copy, with external buffers and without. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, readSync, writeSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { capabilities } from '../../ts/host/capabilities.ts'
import { HostMemory } from '../../ts/memory/host-memory.ts'
import { bufferOver } from '../../ts/memory/view.ts'
import { addon } from '../../ts/native/load.ts'
import { target } from '../../ts/native/target.ts'
import { needsLinux } from '../needs.ts'
import { eduMachine } from './edu-machine.ts'
import { collectUntil } from './garbage.ts'

const refused = (code: string): unknown => expect.objectContaining({ name: 'VfioError', code })
const PAGE = 4096
const external = capabilities().externalBuffers

/** Lines of this process' map of memory that speak of a memfd of that name. */
function mappings(name: string): string[] {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n')
  return lines.filter((line) => line.includes(`memfd:${name} `))
}

/** What a call throws. */
function captured(call: () => unknown): unknown {
  try {
    return call()
  } catch (error) {
    return error
  }
}

describe('a view on memory behind a descriptor', () => {
  needsLinux('memfd')

  it('is the memory itself: for accessors, for the descriptor and for devices', () => {
    using machine = eduMachine()
    using memory = HostMemory.allocate(4 * PAGE, { kind: 'memfd' })
    memory.writeU32(8, 0xdeadbeef)
    const view = memory.view()
    expect(view.buffer).toBeInstanceOf(SharedArrayBuffer)
    expect(view.byteLength).toBe(memory.byteLength)
    expect([...view.subarray(8, 12)]).toEqual([0xef, 0xbe, 0xad, 0xde])

    view[100] = 42
    expect(memory.readU8(100)).toBe(42)
    const through = new Uint8Array(1)
    readSync(memory.fd!, through, 0, 1, 100)
    expect(through[0]).toBe(42)
    writeSync(memory.fd!, Uint8Array.of(43), 0, 1, 101)
    expect(view[101]).toBe(43)

    machine.container.mapDma({ iova: 0, memory, read: true, write: true })
    view.set(Uint8Array.from({ length: 64 }, (_, i) => i + 1))
    machine.copy(0, 2 * PAGE, 64)
    expect([...view.subarray(2 * PAGE, 2 * PAGE + 64)]).toEqual(Array.from({ length: 64 }, (_, i) => i + 1))
    expect(Atomics.add(new Int32Array(view.buffer), 0, 1)).toBe(0x04030201)
    expect(memory.readU32(0)).toBe(0x04030202)
  })

  it('shows what another process writes', () => {
    using memory = HostMemory.allocate(PAGE, { kind: 'memfd' })
    const view = memory.view()
    const path = `/proc/${process.pid}/fd/${memory.fd}`
    const script = `const fs = require('fs'); const fd = fs.openSync(${JSON.stringify(path)}, 'r+'); fs.writeSync(fd, Uint8Array.of(1, 2, 3), 0, 3, 10)`
    expect(spawnSync(process.execPath, ['-e', script]).status).toBe(0)
    expect([...view.subarray(9, 14)]).toEqual([0, 1, 2, 3, 0])
  })

  it('goes to Workers as shared memory does', async () => {
    using memory = HostMemory.allocate(PAGE, { kind: 'memfd' })
    const worker = new Worker(`require('node:worker_threads').workerData[5] = 77`, {
      eval: true,
      workerData: memory.view(),
    })
    await new Promise((resolve) => worker.on('exit', resolve))
    expect(memory.readU8(5)).toBe(77)
  })

  it('is one buffer however often it is asked for', () => {
    using memory = HostMemory.allocate(PAGE, { kind: 'memfd' })
    expect(memory.view().buffer).toBe(memory.view().buffer)
  })

  it('outlives the handle and its mappings, and goes with the last array', async () => {
    const name = `vfio-view-${process.pid}`
    const seen = (() => {
      const memory = HostMemory.allocate(PAGE, { kind: 'memfd', name })
      memory.writeU8(0, 9)
      const view = memory.view()
      expect(mappings(name)).toHaveLength(2)
      memory.close()
      expect(mappings(name)).toHaveLength(1)
      expect(() => memory.view()).toThrow(refused('EBADF'))
      return view[0]
    })()
    expect(seen).toBe(9)
    expect(await collectUntil(() => mappings(name).length === 0)).toBe(true)
  })

  it('leaves nothing behind in the engine: new buffers are zeroes', async () => {
    const name = `vfio-dirty-${process.pid}`
    const Pages = SharedArrayBuffer as unknown as new (
      n: number,
      options: { maxByteLength: number },
    ) => SharedArrayBuffer
    for (let round = 0; round < 20; round++) {
      using memory = HostMemory.allocate(16 * PAGE, { kind: 'memfd', name })
      memory.view().fill(0xaa)
    }
    expect(await collectUntil(() => mappings(name).length === 0)).toBe(true)
    for (let round = 0; round < 40; round++) {
      const fresh = new Uint8Array(new Pages(16 * PAGE, { maxByteLength: 16 * PAGE }), 0, 16 * PAGE)
      expect(fresh.every((byte) => byte === 0)).toBe(true)
    }
  })

  it('needs no external buffers', () => {
    const script = `
      const { createRequire } = require('node:module')
      const addon = require(${JSON.stringify(fileURLToPath(new URL(`../../native/vfio.${target()}.node`, import.meta.url)))})
      const memory = addon.NativeMemory.memfd('x', 4096n)
      const shared = new SharedArrayBuffer(4096, { maxByteLength: 4096 })
      const view = new Uint8Array(shared, 0, 4096)
      memory.mapOver(view)
      view[3] = 5
      const anonymous = addon.NativeMemory.anonymous(4096n)
      console.log(JSON.stringify([addon.externalBuffers(), addon.memoryReadU8(memory.handle, 3), anonymous.externalBuffer() ?? null]))`
    const run = (value: string): unknown => {
      const env = { ...process.env, VFIO_EXTERNAL_BUFFERS: value }
      return JSON.parse(spawnSync(process.execPath, ['-e', script], { env, encoding: 'utf8' }).stdout)
    }
    expect(run('0')).toEqual(['switched off', 5, null])
    expect(run('1')).toEqual(['allowed', 5, {}])
  })

  it('falls back on an external buffer where the pages cannot be placed, and says why where that is refused, too', () => {
    const memory = addon().NativeMemory.memfd('x', PAGE)
    memory.writeU8(7, 9)
    const unplaced = (): never => {
      throw Object.assign(new Error('no'), { code: 'ENOMEM' })
    }
    const unplaceable = new Proxy(memory, {
      get: (target, name) => {
        if (name === 'mapOver') return unplaced
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const seen = (): unknown => new Uint8Array(bufferOver(unplaceable))[7]
    const outcome = external.available ? seen() : captured(seen)
    expect(outcome).toEqual(external.available ? 9 : refused('EOPNOTSUPP'))
    memory.close()
  })

  it('replaces no pages but those of a buffer of its length that begins with a page', () => {
    const memory = addon().NativeMemory.memfd('x', PAGE)
    const Pages = SharedArrayBuffer as unknown as new (
      n: number,
      options: { maxByteLength: number },
    ) => SharedArrayBuffer
    const pages = new Pages(2 * PAGE, { maxByteLength: 2 * PAGE })
    const code = (name: string): unknown => expect.objectContaining({ code: name })
    expect(() => memory.mapOver(new Uint8Array(pages, 0, 2 * PAGE))).toThrow(code('EINVAL'))
    expect(() => memory.mapOver(new Uint8Array(pages, 8, PAGE))).toThrow(code('EINVAL'))
    expect(() => memory.mapOver(new Uint8Array(PAGE))).toThrow(/SharedArrayBuffer/)
    expect(() => memory.mapOver({} as never)).toThrow(/SharedArrayBuffer/)
    expect(() =>
      addon()
        .NativeMemory.anonymous(PAGE)
        .mapOver(new Uint8Array(pages, 0, PAGE)),
    ).toThrow(code('EOPNOTSUPP'))
    memory.close()
    expect(() => memory.mapOver(new Uint8Array(pages, 0, PAGE))).toThrow(code('EBADF'))
    expect(new Uint8Array(pages).every((byte) => byte === 0)).toBe(true)
  })
})

describe('a view on memory without a descriptor', () => {
  /** Where external buffers are allowed, the view; else nothing, once it is clear that the refusal says what to do. */
  const viewOf = (memory: HostMemory): Uint8Array | undefined => {
    if (external.available) return memory.view()
    let said: unknown
    try {
      memory.view()
    } catch (error) {
      said = error
    }
    assert.match(String(said), /EOPNOTSUPP.*not its own; allocate memory of kind 'memfd'/)
    memory.writeU8(0, 1)
    assert.equal(memory.readU8(0), 1)
    return undefined
  }

  it('is the memory itself', () => {
    using machine = eduMachine()
    using memory = HostMemory.allocate(2 * PAGE)
    machine.container.mapDma({ iova: 0, memory, read: true, write: true })
    const view = viewOf(memory)
    if (view === undefined) return
    view.set([1, 2, 3])
    machine.copy(0, PAGE, 3)
    expect([...view.subarray(PAGE, PAGE + 4)]).toEqual([1, 2, 3, 0])
    expect(memory.view().buffer).toBe(view.buffer)
  })

  it('is copied right from and to its own memory', () => {
    using memory = HostMemory.allocate(PAGE)
    const view = viewOf(memory)
    if (view === undefined) return
    view.set(Uint8Array.from({ length: 256 }, (_, i) => i))
    memory.write(7, view.subarray(0, 200))
    expect([...view.subarray(7, 207)]).toEqual(Array.from({ length: 200 }, (_, i) => i))
    memory.copyTo(view.subarray(1000, 1100), 7)
    expect([...view.subarray(1000, 1100)]).toEqual(Array.from({ length: 100 }, (_, i) => i))
  })

  it('keeps the memory while it is there, and cannot be transferred away', async () => {
    const kept: { view?: Uint8Array | undefined } = { view: forgetful() }
    await collectUntil(() => false, 5)
    expect(kept.view?.[0] ?? 7).toBe(7)
    tryToTransfer(kept.view?.buffer as ArrayBuffer | undefined)
    expect(kept.view?.[0] ?? 7).toBe(7)
    const ended = weakly(kept)
    expect(await collectUntil(() => ended.deref() === undefined)).toBe(true)
  })

  /** A view whose memory nobody else holds. */
  function forgetful(): Uint8Array | undefined {
    const memory = HostMemory.allocate(PAGE)
    const made = viewOf(memory)
    memory.writeU32(0, 7)
    memory.close()
    return made
  }

  /** Refused, or answered with a copy: as the engine has it. */
  function tryToTransfer(buffer: ArrayBuffer | undefined): void {
    try {
      if (buffer !== undefined) structuredClone(buffer, { transfer: [buffer] })
    } catch (error) {
      assert.equal((error as Error).name, 'DataCloneError')
    }
  }

  /** Takes the view away, and looks whether it is still there. */
  function weakly(kept: { view?: Uint8Array | undefined }): WeakRef<object> {
    const reference = new WeakRef<object>(kept.view?.buffer ?? {})
    kept.view = undefined
    return reference
  }
})

describe("a view on JavaScript's own memory", () => {
  it('is a view on its buffer', () => {
    for (const buffer of [new ArrayBuffer(64), new SharedArrayBuffer(64)]) {
      using memory = HostMemory.from(buffer, { offset: 16, length: 8 })
      const view = memory.view()
      expect([view.buffer, view.byteOffset, view.byteLength]).toEqual([buffer, 16, 8])
      memory.close()
      expect(() => memory.view()).toThrow(refused('EBADF'))
    }
  })
})

describe('the switch', () => {
  it('is told by capabilities', () => {
    const off = process.env['VFIO_EXTERNAL_BUFFERS'] === '0'
    expect(external.available).toBe(!off)
    expect(external.reason ?? '').toMatch(off ? /VFIO_EXTERNAL_BUFFERS=0/ : /^$/)
  })
})
