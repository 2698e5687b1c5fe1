import { Worker } from 'node:worker_threads'
import { describe, expect, it, vi } from 'vitest'
import { fileURLToPath } from 'node:url'
import { addon } from '../../ts/native/load.ts'
import { target } from '../../ts/native/target.ts'

const { NativeAddressSpace, NativeMemory, NativeType1 } = addon()
const [EFAULT, ENODEV] = [-14, -19]
const path = fileURLToPath(new URL(`../../native/vfio.${target()}.node`, import.meta.url))

/** Runs `body` in a Worker with the bare binding as `addon`; resolves with what it posts, once it has exited. */
function inWorker(body: string, data: unknown = undefined): Promise<unknown> {
  const source = `
    const { parentPort, workerData: data } = require('node:worker_threads')
    const addon = require(${JSON.stringify(path)})
    addon.enterRealm(Object.getOwnPropertyDescriptor(WebAssembly.Memory.prototype, 'buffer').get, false)
    ;(async () => { ${body} })().then((answer) => parentPort.postMessage(answer))
  `
  const worker = new Worker(source, { eval: true, workerData: data })
  return new Promise((resolve, reject) => {
    let answer: unknown
    worker.on('message', (value) => (answer = value))
    worker.on('error', reject)
    worker.on('exit', () => resolve(answer))
  })
}

describe('memory in Workers', () => {
  it('is shared by a number, which is good once', async () => {
    const memory = NativeMemory.anonymous(4096n)
    memory.writeU32(0, 5)
    const token = memory.share()
    const answer = await inWorker(
      `const memory = addon.NativeMemory.adopt(data)
       const seen = addon.memoryReadU32(memory.handle, 0)
       addon.memoryWriteU32(memory.handle, 0, 6)
       let again; try { addon.NativeMemory.adopt(data) } catch (error) { again = error.code }
       return [seen, again, memory.kind]`,
      token,
    )
    expect(answer).toEqual([5, 'EBADF', 'anonymous'])
    expect(memory.readU32(0)).toBe(6)
    memory.close()
  })

  it('works from any thread where it is shared memory', async () => {
    const buffer = new SharedArrayBuffer(64)
    const memory = NativeMemory.fromBuffer(buffer, 0, 64)
    const token = memory.share()
    memory.close()
    await inWorker(
      `const memory = addon.NativeMemory.adopt(data)
       addon.memoryWriteU32(memory.handle, 4, 77)`,
      token,
    )
    expect(new Uint32Array(buffer)[1]).toBe(77)
  })

  it('answers EFAULT for an ArrayBuffer of another thread, and is let go there safely', async () => {
    const memory = NativeMemory.fromBuffer(new ArrayBuffer(64), 0, 64)
    const token = memory.share()
    memory.close()
    const answer = await inWorker(
      `const memory = addon.NativeMemory.adopt(data)
       const status = addon.memoryReadU32(memory.handle, 4)
       memory.close()
       return status`,
      token,
    )
    expect(answer).toBe(EFAULT)
    await new Promise((resolve) => setTimeout(resolve, 10))
  })

  it("outlives a Worker's buffers: they answer EFAULT once it has exited", async () => {
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads')
       const addon = require(${JSON.stringify(path)})
       addon.enterRealm(undefined, false)
       const buffer = new SharedArrayBuffer(1 << 20)
       new Uint8Array(buffer).fill(8)
       globalThis.memory = addon.NativeMemory.fromShared(new Uint8Array(buffer))
       parentPort.postMessage(memory.share())
       parentPort.on('message', () => process.exit())`,
      { eval: true },
    )
    const token = await new Promise<bigint>((resolve) => worker.once('message', resolve))
    const memory = NativeMemory.adopt(token)
    expect(memory.readU32(0)).toBe(0x08080808)
    const gone = new Promise((resolve) => worker.once('exit', resolve))
    worker.postMessage('exit')
    await gone
    expect(memory.readU32(0)).toBe(EFAULT)
    expect(memory.length).toBe(1 << 20)
    memory.close()
  })

  it('share views of memory, which end with their device', async () => {
    const mm = new NativeAddressSpace({ memlock: 1n << 20n, capIpcLock: false })
    const memory = NativeMemory.anonymous(4096n)
    const vaddr = mm.map({ memory, offset: 0, length: 4096, read: true, write: true })
    const type1 = new NativeType1(true, 10)
    type1.attachHw(1, {
      pgsizes: 4096n,
      apertureStart: 0n,
      apertureLast: 0xffffffffn,
      reserved: [],
      cacheCoherency: false,
    })
    expect(type1.mapDma(mm, 3, vaddr, 0, 4096)).toBe(0)
    const dma = type1.openDevice(1, 'card', 'iommu')
    const before = await inWorker(
      `const dma = addon.NativeDma.adopt(data)
       return [addon.dmaWriteU32(dma.handle, 8, 5), addon.dmaReadU32(dma.handle, 4096), dma.name]`,
      dma.share(),
    )
    expect(before).toEqual([0, EFAULT, 'card'])
    expect(memory.readU32(8)).toBe(5)
    expect(type1.faults().total()).toBe(1n)
    const token = dma.share()
    type1.closeDevice(dma)
    const after = await inWorker(
      `const dma = addon.NativeDma.adopt(data)
       return addon.dmaReadU32(dma.handle, 8)`,
      token,
    )
    expect(after).toBe(ENODEV)
    type1.close()
  })

  it('hear of faults that another thread causes', async () => {
    const type1 = new NativeType1(true, 10)
    type1.attachEmulated(1)
    const heard: string[] = []
    type1.faults().setListener((fault) => heard.push(`${fault.device} ${fault.iova}`))
    const dma = type1.openDevice(1, 'card', 'emulated')
    await inWorker(
      `const dma = addon.NativeDma.adopt(data)
       addon.dmaReadU32(dma.handle, 4096)`,
      dma.share(),
    )
    await vi.waitFor(() => expect(heard).toEqual(['card 4096']))
    type1.close()
  })

  it('lets Workers end with everything open', async () => {
    for (let i = 0; i < 5; i++) {
      const answer = await inWorker(`
        globalThis.kept = [
          addon.NativeMemory.anonymous(4096n),
          addon.NativeMemory.fromBuffer(new ArrayBuffer(64), 0n, 64n),
          addon.NativeMemory.fromShared(new Uint8Array(new SharedArrayBuffer(64))),
          new addon.NativeAddressSpace(1n << 20n, false),
          new addon.NativeType1(true, 10),
        ]
        const event = addon.NativeEventFd.create(0n)
        event.watch(() => {})
        const local = addon.NativeEventFd.inProcess(0n)
        local.watch(() => {})
        addon.eventFdSignal(local.handle, 1n)
        kept[4].attachEmulated(1)
        kept.push(event, local, kept[4].openDevice('card', true, () => {}))
        kept[4].faults().setListener(() => {})
        addon.dmaReadU32(kept.at(-1).handle, 0)
        const model = { read: () => true, write: () => true, configWritten: () => true, reset: () => true }
        const bars = [{ index: 0, size: 4096n, kind: 'memory32', prefetchable: false, windows: [], doorbells: [] }]
        const pci = addon.NativePciFunction.fromModel(model, { name: 'model', vendor: 1, device: 1 }, { bars })
        const device = new addon.NativeVfioPci(pci.handle, false, 0)
        device.openDevice(undefined)
        kept.push(pci, device)
        setTimeout(() => process.exit(), 5)
        return 'ok'`)
      expect(answer).toBe('ok')
    }
  })

  it('survives a Worker that is terminated while it works', async () => {
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads')
       const addon = require(${JSON.stringify(path)})
       addon.enterRealm(Object.getOwnPropertyDescriptor(WebAssembly.Memory.prototype, 'buffer').get, false)
       const memory = addon.NativeMemory.fromWebAssembly(new WebAssembly.Memory({ initial: 1 }), 0n, 65536n)
       parentPort.postMessage('started')
       for (;;) addon.memoryWriteU32(memory.handle, 0, 1)`,
      { eval: true },
    )
    await new Promise((resolve) => worker.once('message', resolve))
    expect(await worker.terminate()).toBe(1)
  })
})
