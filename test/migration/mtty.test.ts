/** A card saved on one machine and resumed on another. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DeviceMigration } from '../../ts/device/migration.ts'
import { MttyDevice } from '../../ts/drivers/mtty-device.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const [STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY] = [1, 2, 3, 4, 6]

const card = (ports: 1 | 2) => {
  const device = new MttyDevice(ports)
  return { device, migration: new DeviceMigration(device.migration) }
}

/** Reads a stream to its end, in pieces. */
function drain(stream: { read?(length: number): Uint8Array } | undefined, piece = 7): Uint8Array {
  const bytes: number[] = []
  for (let data = stream?.read?.(piece); data !== undefined && data.length > 0; data = stream?.read?.(piece))
    bytes.push(...data)
  return Uint8Array.from(bytes)
}

describe('a saved card', () => {
  it('goes on elsewhere, whatever was done to it and however the stream was cut', () => {
    const write = fc.tuple(fc.nat({ max: 1 }), fc.nat({ max: 7 }), fc.nat({ max: 255 }))
    fc.assert(
      fc.property(fc.array(write), fc.integer({ min: 1, max: 100 }), fc.boolean(), (writes, piece, precopy) => {
        const source = card(2)
        for (const [region, offset, value] of writes) source.device.write(region, BigInt(offset), Uint8Array.of(value))
        let stream = precopy ? source.migration.setState(PRE_COPY) : undefined
        stream = source.migration.setState(STOP_COPY) ?? stream
        const saved = drain(stream, piece)
        expect(BigInt(saved.length)).toBe(source.migration.dataSize())

        const target = card(2)
        const into = target.migration.setState(RESUMING)
        for (let at = 0; at < saved.length; at += piece) into?.write?.(saved.subarray(at, at + piece))
        target.migration.setState(RUNNING)
        source.migration.setState(RUNNING)
        for (let i = 0; i < 40; i++) {
          for (const region of [0, 1]) {
            for (let offset = 0n; offset < 8n; offset++) {
              const bytes = [source, target].map(({ device }) => {
                const byte = new Uint8Array(1)
                device.read(region, offset, byte)
                return byte[0]
              })
              expect(bytes[0]).toBe(bytes[1])
            }
          }
        }
      }),
      { numRuns: 50 },
    )
  })

  it('is refused by a card of another kind, or when cut short or altered', () => {
    const source = card(2)
    const saved = drain(source.migration.setState(STOP_COPY))
    const other = card(1)
    const into = other.migration.setState(RESUMING)
    expect(() => into?.write?.(saved)).toThrow(code('ENOMEM'))
    expect(() => into?.write?.(saved.subarray(0, 24))).toThrow(code('EFAULT'))
    expect(() => other.migration.setState(STOP)).toThrow(code('EINVAL'))
    expect(other.migration.state).toBe(RESUMING)
    const short = card(2)
    short.migration.setState(RESUMING)?.write?.(saved.subarray(0, 95))
    expect(() => short.migration.setState(RUNNING)).toThrow(code('EINVAL'))
    for (const at of [0, 8, 16, 20]) {
      const altered = saved.slice()
      altered[at] = 0xee
      expect(() => card(2).migration.setState(RESUMING)?.write?.(altered)).toThrow(code('EFAULT'))
    }
  })
})

describe('a stream', () => {
  it('tells how much can be read before the device stops, and goes on when it has', () => {
    const { migration } = card(1)
    const stream = migration.setState(PRE_COPY)
    expect(stream?.precopyInfo?.()).toEqual({ initialBytes: 24n, dirtyBytes: 0n })
    expect(drain(stream)).toHaveLength(24)
    expect(stream?.precopyInfo?.()).toEqual({ initialBytes: 0n, dirtyBytes: 0n })
    expect(migration.setState(STOP_COPY)).toBeUndefined()
    expect(() => stream?.precopyInfo?.()).toThrow(code('EINVAL'))
    expect(drain(stream)).toHaveLength(36)
  })

  it('ends with its state, with a reset and with the last close', () => {
    const { device, migration } = card(1)
    const saving = migration.setState(STOP_COPY)
    const resuming = migration.setState(RESUMING)
    expect(() => saving?.read?.(1)).toThrow(code('ENODEV'))
    device.reset()
    expect(migration.state).toBe(RUNNING)
    expect(() => resuming?.write?.(Uint8Array.of(1))).toThrow(code('ENODEV'))
    const precopy = migration.setState(PRE_COPY)
    device.closeDevice()
    expect(migration.state).toBe(PRE_COPY)
    expect(() => precopy?.read?.(1)).toThrow(code('ENODEV'))
    expect(migration.setState(STOP_COPY)?.read).toBeDefined()
  })
})
