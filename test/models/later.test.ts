/** Device models that answer by promises, behind the software backend. */
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { HostMemory, PciModel, type PciModelDescription } from 'vfio'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { gate, opened, u32, value, warnings } from './machine.ts'

const DESCRIPTION: PciModelDescription = {
  vendor: 0x1234,
  device: 1,
  functionReset: true,
  express: true,
  bars: [
    { index: 0, size: 4096, kind: 'memory32' },
    { index: 2, size: 4096, kind: 'memory32' },
  ],
}

const code = (code: string) => expect.objectContaining({ code })

afterEach(() => {
  vi.restoreAllMocks()
})

/** Registers that answer after a turn or more of the event loop. */
class Slow extends PciModel {
  readonly log: string[] = []
  readonly #registers = new Map<bigint, number>()

  constructor() {
    super(DESCRIPTION)
  }

  override async read(_bar: number, offset: bigint, data: DataView): Promise<void> {
    this.log.push(`read ${offset}`)
    await sleep(2)
    for (let i = 0; i < data.byteLength; i++) data.setUint8(i, this.#registers.get(offset + BigInt(i)) ?? 0)
    this.log.push(`answer ${offset}`)
  }

  override async write(_bar: number, offset: bigint, data: DataView): Promise<void> {
    this.log.push(`write ${offset}`)
    await sleep(1)
    for (let i = 0; i < data.byteLength; i++) this.#registers.set(offset + BigInt(i), data.getUint8(i))
  }
}

describe('a model that answers later', () => {
  it('is waited for by the promise forms', async () => {
    using machine = opened(new Slow())
    expect(await machine.bar.writeAsync(8, u32(0xcafe))).toBe(4)
    expect(value(await machine.bar.readAsync(8, 4))).toBe(0xcafe)
  })

  it('tells who does not wait for a read what to do, and lets writes count as done', async () => {
    using machine = opened(new Slow())
    expect(() => machine.bar.readU32(0)).toThrow(
      expect.objectContaining({ code: 'EAGAIN', remedy: expect.stringContaining('readAsync') }),
    )
    expect(machine.bar.write(4, u32(7))).toBe(4)
    await vi.waitFor(async () => expect(value(await machine.bar.readAsync(4, 4))).toBe(7))
  })

  it('gets the pieces of a long access one after the other', async () => {
    const model = new Slow()
    using machine = opened(model)
    const bytes = Uint8Array.from({ length: 21 }, (_, i) => i + 1)
    expect(await machine.bar.writeAsync(16, bytes)).toBe(21)
    expect(await machine.bar.readAsync(16, 21)).toEqual(bytes)
    const pieces = [16, 24, 32, 36]
    expect(model.log).toEqual([
      ...pieces.map((at) => `write ${at}`),
      ...pieces.flatMap((at) => [`read ${at}`, `answer ${at}`]),
    ])
  })

  it('gets accesses in the order in which they came, and may answer them in another', async () => {
    const order: string[] = []
    const first = gate()
    class Reorders extends Slow {
      override async read(_bar: number, offset: bigint, data: DataView): Promise<void> {
        order.push(`read ${offset}`)
        if (offset === 0n) await first.passed
        data.setUint32(0, Number(offset), true)
      }

      override async write(_bar: number, offset: bigint): Promise<void> {
        order.push(`write ${offset}`)
      }
    }
    using machine = opened(new Reorders())
    const answers: number[] = []
    const read = async (offset: number) => answers.push(value(await machine.bar.readAsync(offset, 4)))
    const all = [read(0), machine.bar.writeAsync(4, u32(1)), read(8), read(12)]
    await Promise.all(all.slice(1))
    expect(order).toEqual(['read 0', 'write 4', 'read 8', 'read 12'])
    expect(answers).toEqual([8, 12])
    first.open()
    await all[0]
    expect(answers).toEqual([8, 12, 0])
  })

  it('may call back in, also to itself, and do DMA meanwhile', async () => {
    const memory = HostMemory.allocate(4096)
    memory.writeU32(0x40, 0x1234)
    let inner = 0
    class CallsBack extends PciModel {
      constructor() {
        super(DESCRIPTION)
      }

      override async read(_bar: number, offset: bigint, data: DataView): Promise<void> {
        if (offset === 0n) {
          expect(machine.bar.read(0x100, new Uint8Array(4))).toBe(4)
          inner = value(await machine.bar.readAsync(4, 4))
          data.setUint32(0, inner + 1, true)
        } else {
          data.setUint32(0, value(await this.dma.readAsync(0x40, 4)), true)
        }
      }
    }
    class Mixed extends CallsBack {
      override read(bar: number, offset: bigint, data: DataView): Promise<void> {
        if (offset !== 0x100n) return super.read(bar, offset, data)
        data.setUint32(0, 1, true)
        return undefined as never
      }
    }
    using machine = opened(new Mixed(), memory)
    expect(value(await machine.bar.readAsync(0, 4))).toBe(0x1235)
    expect(inner).toBe(0x1234)
    memory.close()
  })

  it('fails the access by EIO, with a warning, when its promise is rejected', async () => {
    const warned = warnings()
    const bug = new Error('gone')
    class Fails extends PciModel {
      override async read(): Promise<void> {
        throw bug
      }
      override async write(): Promise<void> {
        await sleep(1)
        throw undefined
      }
    }
    using machine = opened(new Fails(DESCRIPTION))
    await expect(machine.bar.readAsync(0, 4)).rejects.toEqual(code('EIO'))
    await expect(machine.bar.writeAsync(0, u32(1))).rejects.toEqual(code('EIO'))
    expect(() => machine.bar.readU32(0)).toThrow(code('EAGAIN'))
    expect(machine.bar.write(0, u32(1))).toBe(4)
    await vi.waitFor(() => expect(warned).toHaveLength(4))
    expect(warned[0]).toMatchObject({ name: 'DeviceModelWarning', cause: bug })
    expect(warned.every(({ name }) => name === 'DeviceModelWarning')).toBe(true)
  })

  it('may take its time over a promise of its own make, or the data away', async () => {
    class Odd extends PciModel {
      // oxlint-disable-next-line unicorn/no-thenable -- what a program may give instead of a promise
      override read(_bar: number, offset: bigint, data: DataView): PromiseLike<void> {
        if (offset === 4n) structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] })
        else data.setUint32(0, 9, true)
        const then = (done?: ((value: void) => unknown) | null) => {
          setTimeout(() => done?.(), 1)
          return undefined as never
        }
        // oxlint-disable-next-line unicorn/no-thenable -- as above
        return { then }
      }
    }
    using machine = opened(new Odd(DESCRIPTION))
    expect(value(await machine.bar.readAsync(0, 4))).toBe(9)
    expect(value(await machine.bar.readAsync(4, 4))).toBe(0)
  })
})

describe('an access that is not answered', () => {
  it.each(['reset', 'close'] as const)('ends with EIO at %s, and a late answer is not heard', async (how) => {
    const { passed, open } = gate()
    const seen: string[] = []
    class Stuck extends PciModel {
      override read(_bar: number, offset: bigint): Promise<void> {
        seen.push(`read ${offset}`)
        return passed
      }
      override reset(): void {
        seen.push('reset')
      }
    }
    using machine = opened(new Stuck(DESCRIPTION))
    seen.length = 0
    const reads = [machine.bar.readAsync(0, 16), machine.bar.readAsync(32, 4)]
    const failed = Promise.all(reads.map((read) => expect(read).rejects.toEqual(code('EIO'))))
    if (how === 'reset') machine.device.reset()
    else machine.device.close()
    await failed
    expect(seen.slice(0, 2)).toEqual(['read 0', 'read 32'])
    expect(seen).toContain('reset')
    open()
    await sleep(1)
    expect(seen).not.toContain('read 8')
  })

  it('does not keep the device from working after a reset', async () => {
    let calls = 0
    class Once extends PciModel {
      override read(_bar: number, _offset: bigint, data: DataView): Promise<void> {
        data.setUint32(0, 3, true)
        return calls++ === 0 ? new Promise(() => {}) : Promise.resolve()
      }
    }
    using machine = opened(new Once(DESCRIPTION))
    const stuck = machine.bar.readAsync(0, 4)
    machine.device.reset()
    await expect(stuck).rejects.toEqual(code('EIO'))
    machine.config.writeU16(4, 6)
    expect(value(await machine.bar.readAsync(0, 4))).toBe(3)
  })

  it('has failed once its promise is collected', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    class Forgets extends PciModel {
      override read(): Promise<void> {
        return new Promise(() => {})
      }
    }
    using machine = opened(new Forgets(DESCRIPTION))
    let refusal: unknown
    void machine.bar.readAsync(0, 4).catch((error: unknown) => (refusal = error))
    await vi.waitFor(() => {
      collect()
      expect(refusal).toEqual(code('EIO'))
    })
  })
})
