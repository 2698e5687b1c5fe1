import { afterEach, describe, expect, it } from 'vitest'
import {
  connect,
  EventFd,
  HostMemory,
  PciModel,
  serve,
  VfioError,
  type DmaAccess,
  type PciModelBar,
  type VfioDeviceOps,
} from '../../ts/index.ts'
import { outcome } from '../outcome.ts'
import { Folder, message, RawClient, refusal, until } from './parts.ts'

/** Adds 1 to the 32-bit word whose address is written to offset 0, then sends message 0. */
class Adder extends PciModel {
  readonly log: string[] = []
  value = 0
  work: Promise<unknown> | undefined

  constructor(bars: readonly PciModelBar[] = [{ index: 0, size: 4096, kind: 'memory32' }]) {
    super({ vendor: 0x1234, device: 1, bars, msi: 1, functionReset: true })
  }

  override read(_region: number, offset: bigint, data: DataView): void {
    this.log.push(`read ${offset}`)
    if (offset === 8n) throw new Error('a mistake')
    if (offset === 12n) throw new VfioError('EBUSY', 'read')
    data.setUint32(0, this.value, true)
  }

  override write(_region: number, offset: bigint, data: DataView): void {
    this.log.push(`write ${offset}`)
    if (offset === 0n) {
      this.work = this.#add(data.getBigUint64(0, true))
      this.work.catch(() => {}) // the test looks at it
    } else if (data.byteLength === 4) this.value = data.getUint32(0, true)
  }

  override reset(): void {
    this.log.push('reset')
    this.value = 0
  }

  async #add(address: bigint): Promise<void> {
    const { dma } = this
    const bytes = await dma.readAsync(address, 4)
    const word = new DataView(bytes.buffer)
    word.setUint32(0, word.getUint32(0, true) + 1, true)
    await dma.writeAsync(address, bytes)
    this.irq.msi.trigger(0)
  }
}

/** A device that is a plain object: region 0 has 64 bytes. */
function plain(ops: Partial<VfioDeviceOps>): VfioDeviceOps {
  return {
    name: 'plain',
    getInfo: () => ({ flags: 1, numRegions: 1, numIrqs: 0 }),
    getRegionInfo: () => ({ flags: 3, size: 64n, offset: 0n }),
    getIrqInfo: () => ({ flags: 0, count: 0 }),
    setIrqs: () => {},
    ...ops,
  }
}

const warnings: Error[] = []
const warned = (warning: Error): void => void warnings.push(warning)
afterEach(() => {
  process.off('warning', warned)
  warnings.length = 0
})

describe('a PCI model in TypeScript, served', () => {
  it.each([
    ['by its descriptor', false],
    ['by messages', true],
  ])('reaches memory %s, by promise', async (_, byMessage) => {
    using folder = new Folder()
    const model = new Adder()
    await using server = await serve(model, { path: folder.socket() })
    using device = await connect(server.path)
    using ram = HostMemory.allocate(8192, { kind: 'memfd' })
    await device.mapDmaAsync({ iova: 0x1_0000_0000n, memory: ram, read: true, write: true, byMessage })
    await device.region(7).writeAsync(4, Uint8Array.of(6, 0))
    await using vectors = await device.irq(1).enableAsync(1)
    ram.writeU32(4096, 41)
    const address = new BigUint64Array([0x1_0000_1000n])
    await device.region(0).writeAsync(0, address)
    expect(await vectors.vector(0).wait()).toBe(1n)
    expect(ram.readU32(4096)).toBe(42)
    expect(outcome(() => model.dma.readU32(0x1_0000_1000n))).toBe(byMessage ? 'EAGAIN' : 42)
    await device.region(0).writeAsync(0, new BigUint64Array([0x5000n]))
    expect(await refusal(model.work ?? Promise.resolve())).toBe('EFAULT')
    await device.unmapDmaAsync({ iova: 0x1_0000_0000n, length: 8192 })
    expect(await refusal(model.dma.readAsync(0x1_0000_1000n, 4))).toBe('EFAULT')
  })

  it('may await memory in a write, where the client waits for its own answer first', async () => {
    using folder = new Folder()
    const words: number[] = []
    const ops = plain({
      openDevice: (view) => (dma = view),
      write: async (_region, _offset, from) => {
        const bytes = (await dma?.readAsync(0x1000n, 4)) ?? new Uint8Array(4)
        words.push(new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true))
        return from.byteLength
      },
    })
    let dma: DmaAccess | undefined
    await using server = await serve(ops, { path: folder.socket() })
    using client = await RawClient.introduced(server.path)
    const map = new DataView(new ArrayBuffer(32))
    map.setUint32(0, 32, true)
    map.setUint32(4, 3, true)
    map.setBigUint64(16, 0x1000n, true)
    map.setBigUint64(24, 4096n, true)
    client.write(message(2, 2, new Uint8Array(map.buffer)))
    expect((await client.reply()).errno).toBe(0)
    // 4 bytes to offset 0 of region 0.
    client.write(message(3, 10, Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4)))
    // As QEMU does, it serves its memory when it has its answer, whichever came first.
    const said = [await client.reply(), await client.reply()]
    expect(said.map(({ command, flags }) => [command, flags]).toSorted((a, b) => a[0]! - b[0]!)).toEqual([
      [10, 1],
      [11, 0],
    ])
    const asked = said.find(({ command }) => command === 11)
    const data = Buffer.concat([asked?.body ?? Buffer.alloc(0), Uint8Array.of(0xef, 0xbe, 0, 0)])
    client.write(message(asked?.id ?? 0, 11, data, 1))
    await until(() => words.length > 0, 'the word')
    expect(words).toEqual([0xbeef])
  })

  it('fails the access alone that it throws in', async () => {
    process.on('warning', warned)
    using folder = new Folder()
    const model = new Adder()
    await using server = await serve(model, { path: folder.socket() })
    using device = await connect(server.path)
    const bar = device.region(0)
    expect(await refusal(bar.readAsync(8, 4))).toBe('EIO')
    expect(await refusal(bar.readAsync(12, 4))).toBe('EIO')
    await bar.writeAsync(4, Uint8Array.of(7, 0, 0, 0))
    expect(await bar.readAsync(4, 4)).toEqual(Uint8Array.of(7, 0, 0, 0))
    await until(() => warnings.length === 2, 'the warnings')
    expect(warnings.map((warning) => warning.message)).toContainEqual(expect.stringContaining('a mistake'))
  })

  it('lends its memory, and is rung, without running', async () => {
    using folder = new Folder()
    using memory = HostMemory.allocate(8192, { kind: 'memfd' })
    using bell = EventFd.create()
    const model = new Adder([
      {
        index: 0,
        size: 0x4000,
        kind: 'memory32',
        windows: [{ offset: 0x2000, length: 8192, memory }],
        doorbells: [
          { offset: 0x10, width: 4, event: bell },
          { offset: 0x14, width: 2, value: 7, event: bell },
        ],
      },
    ])
    await using server = await serve(model, { path: folder.socket() })
    using device = await connect(server.path)
    await device.region(7).writeAsync(4, Uint8Array.of(2, 0))
    const bar = device.region(0)
    expect(bar.capabilities.sparseAreas).toEqual([{ offset: 0x2000n, size: 0x2000n }])
    using map = bar.mmap({ offset: 0x2000, length: 8192 })
    map.writeU32(8, 99)
    expect(memory.readU32(8)).toBe(99)
    expect(() => bar.mmap({ offset: 0 })).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    const calls = model.log.length
    await bar.writeAsync(0x2000, Uint8Array.of(1, 2, 3, 4))
    expect(await bar.readAsync(0x2000, 4)).toEqual(Uint8Array.of(1, 2, 3, 4))
    await bar.writeAsync(0x10, Uint8Array.of(0, 0, 0, 0))
    await bar.writeAsync(0x14, Uint8Array.of(7, 0))
    expect(await bell.wait()).toBe(2n)
    const [any, seven] = device.doorbells(0)
    expect(any).toMatchObject({ offset: 0x10n, width: 4 })
    expect(seven).toMatchObject({ offset: 0x14n, width: 2, value: 7n })
    any?.event.signal()
    expect(await bell.wait()).toBe(1n)
    expect(model.log.length).toBe(calls)
    await bar.writeAsync(0x14, Uint8Array.of(8, 0))
    expect(model.log.length).toBe(calls + 1)
  })

  it('is reset between two clients, unless its state is kept', async () => {
    using folder = new Folder()
    for (const keepState of [false, true]) {
      const model = new Adder()
      await using server = await serve(model, { path: folder.socket(), keepState })
      using first = await connect(server.path)
      await first.region(7).writeAsync(4, Uint8Array.of(2, 0))
      await first.region(0).writeAsync(4, Uint8Array.of(5, 0, 0, 0))
      const detached = new Promise((resolve) => server.once('detach', resolve))
      first.close()
      await detached
      using second = await connect(server.path)
      await second.region(7).writeAsync(4, Uint8Array.of(2, 0))
      expect(await second.region(0).readAsync(4, 4)).toEqual(Uint8Array.of(keepState ? 5 : 0, 0, 0, 0))
      await second.resetAsync()
      await second.region(7).writeAsync(4, Uint8Array.of(2, 0))
      expect(await second.region(0).readAsync(4, 4)).toEqual(Uint8Array.of(0, 0, 0, 0))
    }
  })
})

describe('a device in TypeScript, served', () => {
  it('may answer later, in whatever order', async () => {
    using folder = new Folder()
    const answers: (() => void)[] = []
    const ops = plain({
      read: (_region, offset, into) =>
        new Promise((resolve) => {
          answers.push(() => resolve(into.fill(Number(offset)).byteLength))
        }),
      write: async (_region, _offset, from) => from.byteLength,
    })
    await using server = await serve(ops, { path: folder.socket() })
    using device = await connect(server.path)
    const bar = device.region(0)
    const reads = [1, 2, 3].map((offset) => bar.readAsync(offset, 2))
    await until(() => answers.length === 3, 'the reads')
    for (const answer of answers.reverse()) answer()
    expect(await Promise.all(reads)).toEqual([1, 2, 3].map((byte) => Uint8Array.of(byte, byte)))
    expect(await bar.writeAsync(0, Uint8Array.of(1, 2, 3))).toBe(3)
  })

  it('refuses in words of its own, and makes mistakes of its own', async () => {
    process.on('warning', warned)
    using folder = new Folder()
    const ops = plain({
      read: (_region, offset) => {
        if (offset === 0n) throw new VfioError('EBUSY', 'read')
        if (offset === 1n) return Promise.reject(new VfioError('ENOSPC', 'read'))
        if (offset === 2n) throw new TypeError('a mistake')
        return 0
      },
    })
    await using server = await serve(ops, { path: folder.socket() })
    using device = await connect(server.path)
    const codes = [0, 1, 2, 3].map((offset) => refusal(device.region(0).readAsync(offset, 1)))
    expect(await Promise.all(codes)).toEqual(['EBUSY', 'ENOSPC', 'EIO', 'EIO'])
    expect(await refusal(device.region(0).writeAsync(0, Uint8Array.of(1)))).toBe('EINVAL')
    await until(() => warnings.length === 1, 'a warning')
  })

  it('is answered for when it takes too long', async () => {
    using folder = new Folder()
    let late: (count: number) => void = () => {}
    const ops = plain({
      read: (_region, _offset, into) =>
        into.byteLength === 1 ? new Promise((resolve) => (late = resolve)) : into.fill(9).byteLength,
    })
    await using server = await serve(ops, { path: folder.socket(), answerWithin: 50 })
    using device = await connect(server.path)
    const bar = device.region(0)
    expect(await refusal(bar.readAsync(0, 1))).toBe('ETIMEDOUT')
    late(1)
    expect(await bar.readAsync(0, 2)).toEqual(Uint8Array.of(9, 9))
  })

  it('has memory and doorbells that need none of it', async () => {
    using folder = new Folder()
    using memory = HostMemory.allocate(4096, { kind: 'memfd' })
    using bell = EventFd.create()
    let calls = 0
    const ops = plain({
      getRegionInfo: () => ({ flags: 3, size: 0x2000n, offset: 0n }),
      regionMemory: () => [{ offset: 0x1000n, length: 4096n, memory: memory.native }],
      doorbells: () => [{ offset: 4n, width: 4, event: bell }],
      read: (_region, _offset, into) => {
        calls++
        return into.byteLength
      },
    })
    await using server = await serve(ops, { path: folder.socket() })
    using device = await connect(server.path)
    const bar = device.region(0)
    await bar.writeAsync(0x1010, Uint8Array.of(1, 2))
    expect(memory.readU16(0x10)).toBe(0x0201)
    expect(await bar.readAsync(0x1011, 1)).toEqual(Uint8Array.of(2))
    await bar.writeAsync(4, new Uint8Array(4))
    device.doorbells(0)[0]?.event.signal()
    expect(await bell.wait()).toBe(2n)
    expect(calls).toBe(0)
    using map = bar.mmap({ offset: 0x1000, length: 4096 })
    expect(map.readU16(0x10)).toBe(0x0201)
    expect(await refusal(bar.writeAsync(4, new Uint8Array(2)))).toBe('EINVAL')
  })

  it('is told of memory that goes, if it wants to know, before the client is answered', async () => {
    using folder = new Folder()
    const told: [bigint, bigint][] = []
    let dma: DmaAccess | undefined
    const ops = plain({
      openDevice: (view) => (dma = view),
      dmaUnmap: (iova, length) => told.push([iova, length]),
    })
    await using server = await serve(ops, { path: folder.socket() })
    using device = await connect(server.path)
    using ram = HostMemory.allocate(8192, { kind: 'memfd' })
    await device.mapDmaAsync({ iova: 0, memory: ram, read: true, write: false })
    expect(dma?.readU32(4)).toBe(0)
    expect(() => dma?.writeU32(4, 1)).toThrow(expect.objectContaining({ code: 'EFAULT', address: 4n }))
    await device.unmapDmaAsync({ iova: 0, length: 8192 })
    expect(told).toEqual([[0n, 8192n]])
    expect(() => dma?.readU32(4)).toThrow(expect.objectContaining({ code: 'EFAULT' }))
  })
})
