import { describe, expect, it } from 'vitest'
import type { VfioDeviceOps } from '../../ts/device/ops.ts'
import { Container } from '../../ts/container/container.ts'
import { Group } from '../../ts/group/group.ts'
import { errnoOf, TestMachine } from '../parts/machine.ts'

function region(ops: Partial<VfioDeviceOps> = {}) {
  const machine = new TestMachine()
  const group = new Group(machine.plain('dev', ops).group, machine.process)
  const container = new Container(machine.container(), machine.process)
  group.setContainer(container)
  container.setIommu(3)
  return group.getDevice('dev').region(0)
}

describe('a region', () => {
  it('is read and written in every width, little endian', () => {
    const bar = region()
    bar.writeU32(0, 0x1234_5678)
    expect([bar.readU8(0), bar.readU16(0), bar.readU32(0)]).toEqual([0x78, 0x5678, 0x1234_5678])
    bar.writeU64(8n, 0xfedc_ba98_7654_3210n)
    expect(bar.readU64(8)).toBe(0xfedc_ba98_7654_3210n)
    bar.writeU8(15, 1)
    bar.writeU16(12, 2)
    expect(bar.read(8, 8)).toEqual(Uint8Array.of(0x10, 0x32, 0x54, 0x76, 2, 0, 0xdc, 1))
    expect(bar.write(0, Uint16Array.of(0xabcd))).toBe(2)
    expect(bar.readU16(0)).toBe(0xabcd)
  })

  it('ends: what crosses its end comes back short', () => {
    const bar = region()
    expect(bar.read(12, 8)).toHaveLength(4)
    expect(bar.read(12, new Uint8Array(8))).toBe(4)
    expect(errnoOf(() => bar.readU64(12))).toBe('EIO')
    expect(errnoOf(() => bar.writeU64(12, 0))).toBe('EIO')
  })

  it('checks shapes', () => {
    const bar = region()
    expect(() => bar.read(-1, 4)).toThrow(RangeError)
    expect(() => bar.read(0, 1.5)).toThrow(RangeError)
    expect(() => bar.read(0, 'x' as never)).toThrow(TypeError)
    expect(() => bar.write(0, 5 as never)).toThrow(TypeError)
    expect(() => bar.writeU8(0, -1)).toThrow(RangeError)
    expect(() => bar.readU8('0' as never)).toThrow(TypeError)
  })

  it('lets a model call back in while it answers', () => {
    let inner = 0
    const bar = region({
      read: (_region, offset, into) => {
        if (offset === 0n) inner = bar.readU16(8)
        into.fill(Number(offset) + 1)
        return into.byteLength
      },
    })
    expect(bar.readU32(0)).toBe(0x0101_0101)
    expect(inner).toBe(0x0909)
  })

  it('of a device that answers later is read asynchronously', async () => {
    const bar = region({
      read: async (_region, _offset, into) => {
        await Promise.resolve()
        into.fill(7)
        return into.byteLength
      },
      write: async () => {
        throw new Error('the model broke after the write was taken')
      },
    })
    expect(errnoOf(() => bar.readU32(0))).toBe('EAGAIN')
    expect(await bar.readAsync(0, 2)).toEqual(Uint8Array.of(7, 7))
    expect(bar.write(0, Uint8Array.of(1, 2))).toBe(2)
    await expect(bar.writeAsync(0, Uint8Array.of(1))).rejects.toThrow('broke')
  })

  it('is mapped as its driver allows', () => {
    const bytes = new DataView(new ArrayBuffer(16))
    const bar = region({
      mmap: (_region, offset, length) => ({
        length,
        read: (at) => BigInt(bytes.getUint8(Number(offset + at))),
        write: (at, _width, value) => bytes.setUint8(Number(offset + at), Number(value)),
        close: () => {},
      }),
    })
    using map = bar.mmap({ offset: 4 })
    expect(map.length).toBe(12n)
    map.writeU8(0, 9)
    expect(bytes.getUint8(4)).toBe(9)
    expect(errnoOf(() => map.readU32(9))).toBe('EFAULT')
    expect(errnoOf(() => map.readU32(0xffff_ffff_ffff_ffffn))).toBe('EFAULT')
    map.close()
    expect(errnoOf(() => map.readU8(0))).toBe('EBADF')
  })
})
