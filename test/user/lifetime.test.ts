import { existsSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { connect, HostMemory, serve, type DeviceServer, type DmaAccess, type VfioDeviceOps } from '../../ts/index.ts'
import { Folder, message, leaked, Program, RawClient, refusal, settledDescriptors, until, VERSION } from './parts.ts'

/** A device that keeps a diary. */
class Diary implements VfioDeviceOps {
  readonly name = 'diary'
  readonly entries: string[] = []
  readonly scratch = new Uint8Array(64)
  dma: DmaAccess | undefined

  openDevice(dma: DmaAccess | undefined): void {
    this.entries.push('open')
    this.dma = dma
  }

  closeDevice(): void {
    this.entries.push('close')
  }

  reset(): void {
    this.entries.push('reset')
    this.scratch.fill(0)
  }

  getInfo() {
    return { flags: 1, numRegions: 1, numIrqs: 1 }
  }

  getRegionInfo() {
    return { flags: 3, size: 64n, offset: 0n }
  }

  getIrqInfo() {
    return { flags: 1, count: 1 }
  }

  setIrqs(): void {}

  read(_region: number, offset: bigint, into: Uint8Array): number {
    into.set(this.scratch.subarray(Number(offset), Number(offset) + into.byteLength))
    return into.byteLength
  }

  write(_region: number, offset: bigint, from: Uint8Array): number {
    this.scratch.set(from, Number(offset))
    return from.byteLength
  }
}

function next(server: DeviceServer, event: 'detach' | 'refuse'): Promise<string> {
  return new Promise((resolve) => server.once(event, resolve))
}

describe('a client that goes', () => {
  it('leaves the device closed, then reset, and the next one finds it so', async () => {
    using folder = new Folder()
    const diary = new Diary()
    await using server = await serve(diary, { path: folder.socket() })
    const first = await connect(server.path)
    await first.region(0).writeAsync(0, Uint8Array.of(7))
    const detached = next(server, 'detach')
    first.close()
    await detached
    expect(diary.entries).toEqual(['open', 'close', 'reset'])
    expect(() => diary.dma?.readU8(0n)).toThrow(expect.objectContaining({ code: 'EFAULT' }))
    using second = await connect(server.path)
    expect(await second.region(0).readAsync(0, 1)).toEqual(Uint8Array.of(0))
  })

  it('leaves the state where serve() was told to keep it', async () => {
    using folder = new Folder()
    const diary = new Diary()
    await using server = await serve(diary, { path: folder.socket(), keepState: true })
    const first = await connect(server.path)
    await first.region(0).writeAsync(0, Uint8Array.of(7))
    const detached = next(server, 'detach')
    first.close()
    await detached
    expect(diary.entries).toEqual(['open', 'close'])
    using second = await connect(server.path)
    expect(await second.region(0).readAsync(0, 1)).toEqual(Uint8Array.of(7))
  })

  it('may be killed while it has everything', async () => {
    using folder = new Folder()
    const diary = new Diary()
    await using server = await serve(diary, { path: folder.socket() })
    const use = async () => {
      await using program = Program.run('client.mjs', server.path)
      await program.line('ready')
      expect(diary.dma?.readU32(16n)).toBe(0xbeef)
      const detached = next(server, 'detach')
      program.process.kill('SIGKILL')
      await detached
      expect(() => diary.dma?.readU32(16n)).toThrow(expect.objectContaining({ code: 'EFAULT' }))
      await program.ended
    }
    await use()
    const before = await settledDescriptors()
    await use()
    await use()
    expect(await leaked(before)).toEqual([])
    expect(diary.entries.slice(-3)).toEqual(['open', 'close', 'reset'])
  })

  it('may go in the middle of a message, after any byte of it', async () => {
    using folder = new Folder()
    await using server = await serve(new Diary(), { path: folder.socket() })
    const whole = Buffer.concat([VERSION, message(2, 10, Uint8Array.from([...new Uint8Array(12), 1, 0, 0, 0, 5]))])
    const before = await settledDescriptors()
    for (let end = 0; end < whole.byteLength; end++) {
      using client = await RawClient.connect(server.path)
      client.write(whole.subarray(0, end))
      await sleep(1)
    }
    using device = await connect(server.path)
    expect(await device.region(0).readAsync(0, 1)).toEqual(Uint8Array.of(0))
    device.close()
    await until(() => server.client === undefined, 'the end of the client')
    expect(await leaked(before)).toEqual([])
  })

  it('is waited for by the next one', async () => {
    using folder = new Folder()
    await using server = await serve(new Diary(), { path: folder.socket() })
    const first = await connect(server.path)
    expect(await refusal(connect(server.path, { patience: 100 }))).toBe('ETIMEDOUT')
    const second = connect(server.path)
    await sleep(50)
    first.close()
    using device = await second
    expect(await device.region(0).readAsync(0, 1)).toHaveLength(1)
  })
})

describe('a server that goes', () => {
  it('tells its client, closes the device, and may come again at the same place', async () => {
    using folder = new Folder()
    const diary = new Diary()
    const server = await serve(diary, { path: folder.socket() })
    using device = await connect(server.path)
    const gone = new Promise((resolve) => device.once('disconnect', resolve))
    const both = [server.close(), server.close()]
    await Promise.all(both)
    await server.close()
    await gone
    expect(existsSync(server.path)).toBe(false)
    expect(diary.entries).toEqual(['open', 'close', 'reset'])
    expect(await refusal(device.region(0).readAsync(0, 1))).toBe('ENOTCONN')
    expect(
      await refusal(device.mapDmaAsync({ iova: 0, memory: HostMemory.allocate(4096), read: true, write: true })),
    ).toBe('ENOTCONN')
    await using again = await serve(diary, { path: folder.socket() })
    using other = await connect(again.path)
    expect(await other.region(0).readAsync(0, 1)).toHaveLength(1)
  })

  it('has nothing left', async () => {
    using folder = new Folder()
    const round = async () => {
      await using server = await serve(new Diary(), { path: folder.socket() })
      using device = await connect(server.path)
      await device.irq(0).setAsync('trigger', 0, { count: 1 })
    }
    await round()
    const before = await settledDescriptors()
    for (let i = 0; i < 10; i++) await round()
    expect(await leaked(before)).toEqual([])
  })
})

describe('the socket file', () => {
  it('is private, and belongs to one server', async () => {
    using folder = new Folder()
    await using server = await serve(new Diary(), { path: folder.socket() })
    expect(statSync(server.path).mode & 0o777).toBe(0o600)
    expect(await refusal(serve(new Diary(), { path: server.path }))).toBe('EADDRINUSE')
  })

  it('is replaced where its server has gone, and nothing else is', async () => {
    using folder = new Folder()
    await using program = Program.cli('serve', 'edu', '--socket', folder.socket())
    await program.line('listening')
    program.process.kill('SIGKILL')
    await program.ended
    expect(existsSync(folder.socket())).toBe(true)
    await using server = await serve(new Diary(), { path: folder.socket() })
    using device = await connect(server.path)
    expect(device.connected).toBe(true)
    writeFileSync(folder.socket('text'), 'text')
    expect(await refusal(serve(new Diary(), { path: folder.socket('text') }))).toBe('EEXIST')
    expect(await refusal(serve(new Diary(), { path: folder.socket('no/such/folder') }))).toBe('ENOENT')
    expect(await refusal(serve(new Diary(), { path: folder.socket('x'.repeat(120)) }))).toBe('ENAMETOOLONG')
    expect(await refusal(connect(folder.socket('nothing')))).toBe('ENOENT')
    expect(await refusal(connect(folder.socket('x'.repeat(120))))).toBe('ENAMETOOLONG')
  })
})

describe('a client that is not welcome', () => {
  it('belongs to somebody else', async () => {
    using folder = new Folder()
    const uid = process.getuid?.() ?? 0
    await using server = await serve(new Diary(), { path: folder.socket(), uid: uid + 1 })
    const refused = next(server, 'refuse')
    expect(await refusal(connect(server.path))).toBe('ENOTCONN')
    expect(await refused).toContain(`user ${uid}`)
  })

  it('does not speak the protocol', async () => {
    using folder = new Folder()
    await using server = await serve(new Diary(), { path: folder.socket(), patience: 200 })
    for (const words of [
      'GET / HTTP/1.1\r\n\r\n',
      '',
      'x',
      message(1, 4, new Uint8Array(16)),
      message(1, 1, Buffer.from('..0.')),
    ]) {
      const refused = next(server, 'refuse')
      using client = await RawClient.connect(server.path)
      client.write(Buffer.from(words))
      expect(await refused).not.toBe('')
      await client.closed
    }
    using client = await RawClient.introduced(server.path)
    client.write(VERSION)
    expect((await client.reply()).errno).toBe(22)
    client.write(message(9, 4, new Uint8Array(16), 1))
    await client.closed
  })

  it('does not find a server, but somebody else', async () => {
    using folder = new Folder()
    const path = folder.socket()
    const words: Buffer[] = [
      Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'),
      Buffer.alloc(0),
      message(0, 1, Buffer.from('x'), 1),
    ]
    const other = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(words.shift() ?? Buffer.alloc(0))
    })
    await new Promise<void>((resolve) => other.listen(path, resolve))
    try {
      expect(await refusal(connect(path))).toBe('EPROTO')
      expect(await refusal(connect(path))).toBe('ENOTCONN')
      expect(await refusal(connect(path))).toBe('EPROTO')
    } finally {
      other.close()
    }
  })
})

describe('many clients', () => {
  it('come and go by the thousand, and leave no trace', async () => {
    using folder = new Folder()
    await using server = await serve(new Diary(), { path: folder.socket() })
    const wave = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const client = await RawClient.connect(server.path)
        if (i % 3 === 0) client.write(VERSION)
        if (i % 5 === 0) client.write(Buffer.from('garbage that is no message'))
        client.destroy()
        await client.closed
      }
      using device = await connect(server.path)
      await device.region(0).writeAsync(0, Uint8Array.of(1))
    }
    await wave(200)
    await until(() => server.client === undefined, 'the end of the last client')
    const before = await settledDescriptors()
    const { rss } = process.memoryUsage()
    await wave(3000)
    await until(() => server.client === undefined, 'the end of the last client')
    expect(await leaked(before)).toEqual([])
    expect(process.memoryUsage().rss - rss).toBeLessThan(64 << 20)
  }, 60_000)
})
