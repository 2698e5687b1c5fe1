import { describe, expect, it } from 'vitest'
import { Container } from '../../ts/container/container.ts'
import type { VfioDeviceOps } from '../../ts/device/ops.ts'
import { VfioError } from '../../ts/errors.ts'
import { Group } from '../../ts/group/group.ts'
import { errnoOf, TestMachine } from '../parts/machine.ts'

function device(ops: Partial<VfioDeviceOps> = {}) {
  const machine = new TestMachine()
  const group = new Group(machine.plain('dev', ops).group, machine.process)
  const container = new Container(machine.container(), machine.process)
  group.setContainer(container)
  container.setIommu(3)
  return group.getDevice('dev')
}

describe('features', () => {
  it('are probed, read and set by number', () => {
    let value = 5
    const { features } = device({
      deviceFeature: (flags, argument) => {
        if ((flags & 0xffff) !== 11) throw new VfioError('ENOTTY', 'VFIO_DEVICE_FEATURE')
        if ((flags & 0x4_0000) !== 0) return 0
        if ((flags & 0x2_0000) !== 0) value = argument.read(1)[0] ?? 0
        else argument.write(Uint8Array.of(value))
        return 0
      },
    })
    expect(features.has(11)).toBe(true)
    expect(features.has(3, 'set')).toBe(false)
    features.set(11, Uint8Array.of(9))
    expect(features.get(11, 1)).toEqual(Uint8Array.of(9))
    expect(errnoOf(() => features.get(11, 0))).toBe('EFAULT')
    expect(errnoOf(() => features.get(3, 1))).toBe('ENOTTY')
  })

  it('that carry pointers have forms of their own', () => {
    const handle = device()
    expect(() => handle.features.set(2, new Uint8Array(8))).toThrow(TypeError)
    expect(errnoOf(() => handle.migration)).toBe('ENOTTY')
    expect(errnoOf(() => handle.dmaLogging.start([{ iova: 0, length: 4096 }]))).toBe('ENOTTY')
    expect(handle.features.has(1)).toBe(false)
    handle.close()
    expect(errnoOf(() => handle.migration)).toBe('EBADF')
    expect(errnoOf(() => handle.features.has(1))).toBe('EBADF')
  })

  it('log DMA', () => {
    const { dmaLogging } = device({
      dmaLogging: {
        start: (_ranges, pageSize) => pageSize,
        stop: () => {},
        readAndClear: (iova, _length, mark) => mark(iova + 0x1000n, 0x2000n),
      },
    })
    expect(dmaLogging.start([{ iova: 0, length: 0x10000 }])).toBe(4096n)
    expect(dmaLogging.report({ iova: 0, length: 0x10000 })).toEqual(Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 0))
    expect(errnoOf(() => dmaLogging.report({ iova: 0, length: 4096, pageSize: 100 }))).toBe('EINVAL')
    expect(() => dmaLogging.start(5 as never)).toThrow(TypeError)
    dmaLogging.stop()
  })
})
