import { describe, expect, it } from 'vitest'
import {
  connect,
  Edu,
  EventFd,
  HostMemory,
  serve,
  SoftwareHost,
  type Region,
  type RemoteDevice,
} from '../../ts/index.ts'
import { Folder, leaked, refusal, settledDescriptors, until } from './parts.ts'

const CONFIG = 7
const BUFFER = 0x40000n
const [FROM_MEMORY, TO_MEMORY, INTERRUPT] = [1, 3, 4]
const RAM = 0x10_0000n
const DONE = 0x100

/** Moves bytes as a driver of the device does. */
function startDma(bar: Region, source: bigint, target: bigint, length: number, command: number): void {
  bar.writeU64(0x80, source)
  bar.writeU64(0x88, target)
  bar.writeU64(0x90, BigInt(length))
  bar.writeU64(0x98, BigInt(command))
}

async function finished(bar: Region): Promise<void> {
  await until(() => (bar.readU64(0x98) & 1n) === 0n, 'the end of the DMA')
}

function enable(device: RemoteDevice): Region {
  device.region(CONFIG).writeU16(4, 6) // memory, bus master
  return device.region(0)
}

describe('edu, a native device, served', () => {
  it('answers without JavaScript, so its own thread may wait for it', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    const edu = host.pci.add('0000:00:02.0', new Edu(), { driver: 'vfio-pci' })
    await using server = await serve(edu, { path: folder.socket() })
    using device = await connect(server.path)
    const bar = enable(device)
    expect(bar.readU32(0) & 0xff).toBe(0xed)
    bar.writeU32(4, 0x1234_5678)
    expect(bar.readU32(4)).toBe(~0x1234_5678 >>> 0)
    bar.writeU32(8, 5)
    await until(() => bar.readU32(8) === 120, 'the factorial')
    expect(device.info().flags & 1).toBe(1)
    device.reset()
    expect(enable(device).readU32(4)).toBe(0)
  })

  it.each([
    ['by its descriptor', false],
    ['by messages', true],
  ])('does its DMA on memory %s', async (_, byMessage) => {
    using folder = new Folder()
    using host = new SoftwareHost()
    const edu = host.pci.add('0000:00:02.0', new Edu(), { driver: 'vfio-pci' })
    await using server = await serve(edu, { path: folder.socket() })
    using device = await connect(server.path)
    using ram = HostMemory.allocate(1 << 16, { kind: 'memfd' })
    device.mapDma({ iova: RAM, memory: ram, read: true, write: true, byMessage })
    const bar = enable(device)
    using vectors = device.irq(1).enable(1)
    const data = Uint8Array.from({ length: 4000 }, (_, i) => i * 31)
    ram.write(8, data)
    startDma(bar, RAM + 8n, BUFFER, data.length, FROM_MEMORY)
    await finished(bar)
    startDma(bar, BUFFER, RAM + 0x8000n, data.length, TO_MEMORY | INTERRUPT)
    expect(await vectors.vector(0).wait()).toBe(1n)
    await finished(bar)
    expect(ram.read(0x8000, data.length)).toEqual(data)
    expect(bar.readU32(0x24)).toBe(DONE)
    bar.writeU32(0x64, DONE)
    device.unmapDma({ iova: RAM, length: ram.byteLength })
    ram.fill(0)
    startDma(bar, BUFFER, RAM, data.length, TO_MEMORY)
    await finished(bar)
    expect(ram.read(0, 4096).every((byte) => byte === 0)).toBe(true)
  })

  it('reads memory that has no descriptor, and none that belongs to one thread', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    const edu = host.pci.add('0000:00:02.0', new Edu(), { driver: 'vfio-pci' })
    await using server = await serve(edu, { path: folder.socket() })
    using device = await connect(server.path)
    const bar = enable(device)
    using pages = HostMemory.allocate(8192)
    const buffer = new SharedArrayBuffer(8192)
    using shared = HostMemory.from(buffer)
    device.mapDma({ iova: 0, memory: pages, read: true, write: false })
    await device.mapDmaAsync({ iova: 0x4000, memory: shared, offset: 4096, length: 4096, read: false, write: true })
    pages.writeU32(16, 0xfeed)
    startDma(bar, 16n, BUFFER, 4, FROM_MEMORY)
    await finished(bar)
    startDma(bar, BUFFER, 0x4000n, 4, TO_MEMORY)
    await finished(bar)
    expect(new Uint32Array(buffer)[1024]).toBe(0xfeed)
    const own = HostMemory.from(new ArrayBuffer(4096))
    const map = (mapping: object) => refusal(device.mapDmaAsync({ read: true, write: true, ...mapping } as never))
    expect(await map({ iova: 0x10000, memory: own })).toBe('EFAULT')
    expect(await map({ iova: 0x10001, memory: pages })).toBe('EINVAL')
    expect(await map({ iova: 0x10000, memory: pages, offset: 4096, length: 8192 })).toBe('EFAULT')
    expect(await map({ iova: 0x10000, memory: pages, length: 0 })).toBe('EINVAL')
    expect(await map({ iova: 0x1000, memory: pages })).toBe('EEXIST')
    expect(await map({ iova: 2n ** 64n - 4096n, memory: pages })).toBe('EINVAL')
    expect(await map({ iova: 0x10000, memory: pages, read: false, write: false })).toBe('EINVAL')
    expect(await refusal(device.unmapDmaAsync({ iova: 0, length: 4096 }))).toBe('EINVAL')
    expect(() => device.mapDma({ iova: 0 } as never)).toThrow(TypeError)
    await device.unmapDmaAsync({ iova: 0, length: 8192 })
    expect(await map({ iova: 0, memory: pages })).toBe('nothing')
  })

  it('masks its line until the client unmasks it, by message or by an event', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    const edu = host.pci.add('0000:00:02.0', new Edu(), { driver: 'vfio-pci' })
    await using server = await serve(edu, { path: folder.socket() })
    using device = await connect(server.path)
    const bar = enable(device)
    const line = device.irq(0)
    using vectors = line.enable(1)
    const interrupt = vectors.vector(0)
    bar.writeU32(0x60, 1)
    expect(await interrupt.wait()).toBe(1n)
    // Still asserted: nothing comes before it is unmasked, and then again.
    bar.writeU32(0x60, 2)
    expect(interrupt.read()).toBeUndefined()
    line.unmask()
    expect(await interrupt.wait()).toBe(1n)
    // As KVM has it, whose end of an interrupt is an event and no message.
    using unmask = EventFd.create()
    line.set('unmask', 0, { events: [unmask] })
    unmask.signal()
    expect(await interrupt.wait()).toBe(1n)
    bar.writeU32(0x64, 3)
    unmask.signal()
    bar.writeU32(0x60, 4)
    expect(await interrupt.wait()).toBe(1n)
    bar.writeU32(0x64, 4)
    line.unmask()
    line.mask()
    bar.writeU32(0x60, 8)
    expect(interrupt.read()).toBeUndefined()
    line.unmask()
    expect(await interrupt.wait()).toBe(1n)
  })

  it('tells which pages it has written', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    const edu = host.pci.add('0000:00:02.0', new Edu(), { driver: 'vfio-pci' })
    await using server = await serve(edu, { path: folder.socket() })
    using device = await connect(server.path)
    using ram = HostMemory.allocate(1 << 16, { kind: 'memfd' })
    device.mapDma({ iova: 0, memory: ram, read: true, write: true })
    const bar = enable(device)
    const range = { iova: 0, length: ram.byteLength }
    expect(() => device.dmaLogging.report(range)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(device.dmaLogging.start([range])).toBe(4096n)
    startDma(bar, BUFFER, 0x3ffen, 4, TO_MEMORY)
    await finished(bar)
    expect(device.dmaLogging.report(range).slice(0, 2)).toEqual(Uint8Array.of(0b1_1000, 0))
    expect(device.dmaLogging.report(range).slice(0, 2)).toEqual(Uint8Array.of(0, 0))
    device.dmaLogging.stop()
  })

  it('leaves nothing behind', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    const edu = host.pci.add('0000:00:02.0', new Edu(), { driver: 'vfio-pci' })
    await using server = await serve(edu, { path: folder.socket() })
    const use = async () => {
      using device = await connect(server.path)
      using ram = HostMemory.allocate(1 << 16, { kind: 'memfd' })
      device.mapDma({ iova: 0, memory: ram, read: true, write: true })
      using _vectors = device.irq(1).enable(1)
      const closed = new Promise((resolve) => server.once('detach', resolve))
      device.close()
      await closed
    }
    await use()
    const before = await settledDescriptors()
    for (let i = 0; i < 20; i++) await use()
    expect(await leaked(before)).toEqual([])
  })
})
