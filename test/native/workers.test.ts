import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { fileURLToPath } from 'node:url'
import { addon } from '../../ts/native/load.ts'
import { target } from '../../ts/native/target.ts'

const { NativeMemory } = addon()
const EFAULT = -14
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

  it('lets Workers end with everything open', async () => {
    for (let i = 0; i < 5; i++) {
      const answer = await inWorker(`
        globalThis.kept = [
          addon.NativeMemory.anonymous(4096n),
          addon.NativeMemory.fromBuffer(new ArrayBuffer(64), 0n, 64n),
          addon.NativeMemory.fromShared(new Uint8Array(new SharedArrayBuffer(64))),
          new addon.NativeAddressSpace(1n << 20n, false),
        ]
        const event = addon.NativeEventFd.create(0n)
        event.watch(() => {})
        const local = addon.NativeEventFd.inProcess(0n)
        local.watch(() => {})
        addon.eventFdSignal(local.handle, 1n)
        kept.push(event, local)
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
