import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { connect, EventFd, mtty, serve, SoftwareHost } from '../../ts/index.ts'
import { Folder, Program, refusal } from './parts.ts'

function card(host: SoftwareHost, type = 'mtty-2') {
  host.mdev.registerParent('mtty', mtty())
  return host.mdev.create(type, randomUUID())
}

describe('a serial card, served and driven by one thread', () => {
  it('looks like the one on the software backend', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    await using server = await serve(card(host), { path: folder.socket() })
    using device = await connect(server.path)
    expect(device.info()).toMatchObject({ flags: 2, numRegions: 9, numIrqs: 5 })
    expect(device.regions().map((region) => region.size)).toEqual([8n, 8n, 0n, 0n, 0n, 0n, 0n, 255n, 0n])
    expect(device.irqs().map((irq) => [irq.index, irq.count, irq.automasked])).toEqual([
      [0, 1, true],
      [1, 1, false],
    ])
    expect(device.connected).toBe(true)
    expect(server.client).toMatchObject({ pid: process.pid, minor: 1 })
  })

  it('loops data back, a byte at a time, and interrupts', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    await using server = await serve(card(host), { path: folder.socket() })
    using device = await connect(server.path)
    const port = device.region(1)
    await using vectors = await device.irq(0).enableAsync(1)
    const text = new TextEncoder().encode('vfio-user')
    await port.writeAsync(4, Uint8Array.of(3)) // DTR and RTS
    await port.writeAsync(2, Uint8Array.of(1)) // FIFO
    await port.writeAsync(1, Uint8Array.of(1)) // tell of what is received
    for (const byte of text) await port.writeAsync(0, Uint8Array.of(byte))
    expect(await vectors.vector(0).wait()).toBeGreaterThan(0n)
    const back: number[] = []
    for (const _ of text) back.push((await port.readAsync(0, 1))[0] ?? 0)
    expect(new TextDecoder().decode(Uint8Array.from(back))).toBe('vfio-user')
    await device.irq(0).setAsync('unmask', 0, { count: 1 })
    expect(await refusal(port.readAsync(8, 1))).toBe('EINVAL')
    expect(await refusal(device.region(2).readAsync(0, 1))).toBe('EINVAL')
    expect(await refusal(device.irq(0).setAsync('trigger', 1, { count: 1 }))).toBe('EINVAL')
  })

  it('cannot be waited for by the thread that emulates it', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    await using server = await serve(card(host), { path: folder.socket() })
    using device = await connect(server.path)
    const deadlock = expect.objectContaining({ code: 'EDEADLK', remedy: expect.stringContaining('promise') })
    expect(() => device.region(0).readU8(7)).toThrow(deadlock)
    expect(() => device.region(0).writeU8(7, 1)).toThrow(deadlock)
    expect(() => device.reset()).toThrow(deadlock)
    expect(() => device.irq(0).enable(1)).toThrow(deadlock)
    await device.resetAsync()
  })

  it('takes events of the caller, and lets go of those that are replaced', async () => {
    using folder = new Folder()
    using host = new SoftwareHost()
    await using server = await serve(card(host), { path: folder.socket() })
    using device = await connect(server.path)
    const irq = device.irq(1)
    using first = EventFd.create()
    using second = EventFd.create()
    await irq.setAsync('trigger', 0, { events: [first] })
    await irq.setAsync('trigger', 0, { count: 1 })
    expect(await first.wait()).toBe(1n)
    await irq.setAsync('trigger', 0, { events: [second] })
    await irq.setAsync('trigger', 0, { count: 1 })
    expect(await second.wait()).toBe(1n)
    expect(first.read()).toBeUndefined()
    await irq.setAsync('trigger', 0, { events: [null] })
    expect(await refusal(irq.setAsync('trigger', 0, { bools: [true, true] }))).toBe('EINVAL')
  })
})

describe('a serial card in another process', () => {
  it('is driven by plain calls, as a device of this process is', async () => {
    using folder = new Folder()
    await using program = Program.cli('serve', 'mtty-2', '--socket', folder.socket(), '--json')
    await program.line('listening')
    using device = await connect(folder.socket())
    const port = device.region(0)
    port.writeU8(7, 0xa5)
    expect(port.readU8(7)).toBe(0xa5)
    expect(device.region(7).readU16(0)).toBe(0x4348)
    using vectors = device.irq(0).enable(1)
    device.irq(0).trigger()
    expect(await vectors.vector(0).wait()).toBe(1n)
    device.irq(0).mask()
    device.irq(0).unmask()
    expect(() => port.read(9, 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(port.read(4, 8)).toHaveLength(4)
    vectors.close()
    device.reset()
    device.close()
    expect(() => port.readU8(7)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    await program.line('detached')
    program.process.kill('SIGTERM')
    expect(await program.ended).toEqual([0, null])
  })

  it('moves its state to another one', async () => {
    using folder = new Folder()
    await using source = Program.cli('serve', 'mtty-2', '--socket', folder.socket('source'))
    await using target = Program.cli('serve', 'mtty-2', '--socket', folder.socket('target'))
    await Promise.all([source.line('listening'), target.line('listening')])
    using from = await connect(folder.socket('source'))
    using to = await connect(folder.socket('target'))
    from.region(1).writeU8(7, 0x77)
    expect(from.migration.flags).toBe(to.migration.flags)
    expect(from.migration.state).toBe(2)
    using saving = from.migration.setState(3)
    const state = saving?.readAll() ?? new Uint8Array()
    expect(state.byteLength).toBeGreaterThan(36)
    using restoring = to.migration.setState(4)
    restoring?.write(state)
    expect(to.migration.setState(2)).toBeUndefined()
    expect(to.region(1).readU8(7)).toBe(0x77)
    expect(() => to.migration.setState(99)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    from.reset()
    expect(from.migration.state).toBe(2)
  })

  it('says when it has gone', async () => {
    using folder = new Folder()
    await using program = Program.cli('serve', 'mtty-1', '--socket', folder.socket())
    await program.line('listening')
    using device = await connect(folder.socket())
    const gone = new Promise((resolve) => device.once('disconnect', resolve))
    program.process.kill('SIGKILL')
    expect(await gone).toMatch(/closed/)
    await program.ended
    expect(device.connected).toBe(false)
    expect(() => device.region(0).readU8(7)).toThrow(expect.objectContaining({ code: 'ENOTCONN' }))
    expect(await refusal(device.region(0).readAsync(7, 1))).toBe('ENOTCONN')
    expect(await refusal(connect(folder.socket()))).toBe('ECONNREFUSED')
    device.close()
    device.close()
  })
})
