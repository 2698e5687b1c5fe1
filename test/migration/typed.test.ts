/** Migration through the typed handle of a device. */
import { describe, expect, it } from 'vitest'
import { Device } from '../../ts/device/device-handle.ts'
import type { MigrationTransfer } from '../../ts/device/migration-handle.ts'
import { mttyMachine, open, UUID } from '../mdev/machine.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const [RUNNING, STOP_COPY, RESUMING, PRE_COPY] = [2, 3, 4, 6]

const devices = () => {
  const host = mttyMachine()
  const device = (uuid?: string) => new Device(open(host.mdev.create('mtty-1', uuid)))
  return { host, device }
}

describe('the typed handle', () => {
  it('moves a card from one device to another', () => {
    const { device } = devices()
    using source = device(UUID)
    using target = device()
    source.region(0).writeU8(7, 0x5a)
    using out = source.migration.setState(PRE_COPY) as MigrationTransfer
    expect(out.precopyInfo()).toEqual({ initialBytes: 24n, dirtyBytes: 0n })
    expect(source.migration.setState(STOP_COPY)).toBeUndefined()
    const state = out.readAll()
    expect(BigInt(state.byteLength)).toBe(source.migration.dataSize())
    using into = target.migration.setState(RESUMING) as MigrationTransfer
    expect(into.write(state)).toBe(state.byteLength)
    expect(target.migration.setState(RUNNING)).toBeUndefined()
    expect(target.region(0).readU8(7)).toBe(0x5a)
    expect([source.migration.state, target.migration.state]).toEqual([STOP_COPY, RUNNING])
    expect(() => into.read()).toThrow(code('EBADF'))
    expect(() => out.write(state)).toThrow(code('EBADF'))
    out.close()
    out.close()
    expect(() => out.read()).toThrow(code('EBADF'))
  })

  it('refuses after close, wrong shapes and senseless states', () => {
    const { device } = devices()
    const closed = device()
    expect(() => closed.migration.setState('2' as never)).toThrow(TypeError)
    expect(() => closed.migration.setState(99)).toThrow(code('EINVAL'))
    const { migration } = closed
    closed.close()
    expect(() => migration.state).toThrow(code('EBADF'))
    expect(() => closed.migration).toThrow(code('EBADF'))
  })
})
