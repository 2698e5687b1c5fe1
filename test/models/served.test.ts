/** Device models that answer by promises, served over vfio-user from this very thread. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PciModel, serve, VFIO_PCI_CONFIG_REGION_INDEX } from 'vfio'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { needsLinux } from '../needs.ts'
import { gate, u32, value, warnings } from './machine.ts'
import { Refused, wireClient } from './wire-client.ts'

const EIO = 5

class Model extends PciModel {
  constructor() {
    super({
      vendor: 0x1234,
      device: 1,
      express: true,
      functionReset: true,
      bars: [{ index: 0, size: 4096, kind: 'memory32' }],
    })
  }
}

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'vfio-models-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true })
  vi.restoreAllMocks()
})

async function served(model: PciModel) {
  const path = join(directory, 'socket')
  const server = await serve(model, { path })
  const attach = async () => {
    const client = await wireClient(path)
    await client.write(VFIO_PCI_CONFIG_REGION_INDEX, 4, Uint8Array.of(6, 0))
    return client
  }
  return { server, attach, client: await attach() }
}

describe('a model that answers later, over vfio-user', () => {
  needsLinux('eventfds')

  it('is waited for, without the event loop or the other requests', async () => {
    const { passed, open } = gate()
    const stored = new Map<bigint, number>()
    class Slow extends Model {
      override async read(_bar: number, offset: bigint, data: DataView): Promise<void> {
        if (offset === 0n) await passed
        data.setUint32(0, stored.get(offset) ?? 0x77, true)
      }
      override async write(_bar: number, offset: bigint, data: DataView): Promise<void> {
        await sleep(5)
        stored.set(offset, data.getUint32(0, true))
      }
    }
    const { server, client } = await served(new Slow())
    const late = client.read(0, 0, 4)
    await client.write(0, 8, u32(0xbeef))
    expect(value(await client.read(0, 8, 4))).toBe(0xbeef)
    expect(value(await client.read(VFIO_PCI_CONFIG_REGION_INDEX, 0, 4))).toBe(0x0001_1234)
    // The version, the command register, and these three: the first read is still open.
    expect(client.replies).toEqual([1, 2, 4, 5, 6])
    open()
    expect(value(await late)).toBe(0x77)
    client.close()
    await server.close()
  })

  it('gets the pieces of a long access one after the other, and all accesses in order', async () => {
    const log: string[] = []
    class Logs extends Model {
      override async read(_bar: number, offset: bigint, data: DataView): Promise<void> {
        log.push(`read ${offset}`)
        await sleep(1)
        data.setUint8(0, Number(offset))
        log.push(`answer ${offset}`)
      }
      override async write(_bar: number, offset: bigint): Promise<void> {
        log.push(`write ${offset}`)
      }
    }
    const { server, client } = await served(new Logs())
    const bytes = await client.read(0, 0, 20)
    expect([bytes[0], bytes[8], bytes[16]]).toEqual([0, 8, 16])
    expect(log).toEqual(['read 0', 'answer 0', 'read 8', 'answer 8', 'read 16', 'answer 16'])
    log.length = 0
    await Promise.all([client.write(0, 0, u32(1)), client.write(0, 4, u32(2)), client.read(0, 8, 4)])
    expect(log).toEqual(['write 0', 'write 4', 'read 8', 'answer 8'])
    client.close()
    await server.close()
  })

  it('answers EIO where its promise is rejected', async () => {
    const warned = warnings()
    class Fails extends Model {
      override async read(): Promise<void> {
        await sleep(1)
        throw new Error('no such luck')
      }
    }
    const { server, client } = await served(new Fails())
    await expect(client.read(0, 0, 4)).rejects.toMatchObject({ errno: EIO })
    expect(warned.filter(({ name }) => name === 'DeviceModelWarning')).toHaveLength(1)
    client.close()
    await server.close()
  })

  it('is let go of by a reset', async () => {
    const { passed, open } = gate()
    class Stuck extends Model {
      override read(): Promise<void> {
        return passed
      }
    }
    const { server, client } = await served(new Stuck())
    const refusal = client.read(0, 0, 4).catch((error: unknown) => error)
    await client.reset()
    expect(await refusal).toMatchObject({ errno: EIO })
    open()
    client.close()
    await server.close()
  })

  it('that never answers holds up neither the end of its client nor the next one', async () => {
    class Never extends Model {
      override read(_bar: number, offset: bigint, data: DataView): Promise<void> | void {
        if (offset === 0n) return new Promise(() => {})
        data.setUint32(0, 5, true)
      }
    }
    const { server, attach, client } = await served(new Never())
    const lost = client.read(0, 0, 4).catch((error: unknown) => error)
    expect(value(await client.read(0, 4, 4))).toBe(5)
    const gone = new Promise((resolve) => server.once('detach', resolve))
    client.close()
    expect(await lost).toBeInstanceOf(Refused)
    await gone
    const next = await attach()
    expect(value(await next.read(0, 4, 4))).toBe(5)
    const open = next.read(0, 0, 4).catch(() => {})
    await server.close()
    await open
  })
})
