/** `VFIO_DEVICE_FEATURE` as bytes: checks in order, descriptors, DMA logging. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deviceFeature, type FeatureCaller } from '../../ts/device/feature.ts'
import { MigrationFile } from '../../ts/device/migration-file.ts'
import { DeviceMigration } from '../../ts/device/migration.ts'
import type { MigrationStream, VfioDeviceOps } from '../../ts/device/ops.ts'
import { VfioError } from '../../ts/errors.ts'
import { MttyDevice } from '../../ts/drivers/mtty-device.ts'
import { IOCTL } from '../../ts/uapi/ioctl.ts'
import { vfioPrecopyInfo } from '../../ts/uapi/structs.ts'
import { outcome } from '../outcome.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const [GET, SET, PROBE] = [0x10000, 0x20000, 0x40000]
const BITMAP = 0x8000n

/** A user whose memory is 64 KiB from 0 on; ioctl arguments lie at 0. */
function user(device: VfioDeviceOps) {
  const memory = new Uint8Array(0x1_0000)
  const view = new DataView(memory.buffer)
  const streams: MigrationStream[] = []
  const migration = device.migration === undefined ? undefined : new DeviceMigration(device.migration)
  const inside = (at: number, length: number) => {
    if (at + length > memory.length) throw new VfioError('EFAULT', 'copy')
  }
  const argumentAt = (base: number) => ({
    value: BigInt(base),
    read: (length: number, offset = 0) => {
      inside(base + offset, length)
      return memory.slice(base + offset, base + offset + length)
    },
    write: (data: Uint8Array, offset = 0) => {
      inside(base + offset, data.length)
      memory.set(data, base + offset)
    },
  })
  const caller: FeatureCaller = {
    readMemory: (at, into) => into.set(argumentAt(Number(at)).read(into.length)),
    writeMemory: (at, from) => argumentAt(Number(at)).write(from),
    installStream: (stream) => streams.push(stream) + 9,
    removeStream: () => streams.pop(),
    event: () => {
      throw new VfioError('EBADF', 'eventfd')
    },
    installRegion: () => {
      throw new VfioError('EMFILE', 'install')
    },
  }
  const feature = (argsz: number, flags: number, base = 0) => {
    if (base === 0) view.setUint32(0, argsz, true)
    if (base === 0) view.setUint32(4, flags, true)
    return deviceFeature({ ops: device, migration }, argumentAt(base), caller)
  }
  return { memory, view, streams, migration, caller, feature, argumentAt }
}

describe('a request', () => {
  it('is checked in order', () => {
    const { feature } = user(new MttyDevice(1))
    expect(() => feature(7, 1)).toThrow(code('EINVAL'))
    expect(() => feature(8, PROBE | 0x80001)).toThrow(code('EINVAL'))
    expect(() => feature(8, GET | SET | 1)).toThrow(code('EINVAL'))
    expect(() => feature(8, 1)).toThrow(code('EINVAL'))
    expect(() => feature(8, GET | 1)).toThrow(code('EINVAL'))
    expect(() => feature(8, PROBE | SET | 1)).toThrow(code('EINVAL'))
    expect(() => feature(8, PROBE | 3)).toThrow(code('ENOTTY'))
    expect(feature(8, PROBE | GET | 1)).toBe(0)
    expect(() => feature(8, GET | 1, 0xfffc)).toThrow(code('EFAULT'))
  })

  it('is ENOTTY where the device does not migrate, but for the pre-copy flags', () => {
    const device = { ...new MttyDevice(1), name: 'x' } as unknown as VfioDeviceOps
    const bare = { ...device, migration: undefined, dmaLogging: undefined } as unknown as VfioDeviceOps
    const { feature } = user(bare)
    for (const number of [1, 2, 6, 7, 8, 9]) expect(() => feature(64, PROBE | number)).toThrow(code('ENOTTY'))
    expect(() => feature(8, PROBE | 12)).toThrow(code('EINVAL'))
  })

  it('goes to the device with its payload where the core does not know it', () => {
    const seen: unknown[] = []
    const ops = Object.assign(new MttyDevice(1), {
      deviceFeature: (flags: number, argument: { read(length: number): Uint8Array }, size: number) => {
        seen.push(flags, [...argument.read(2)], size)
        return 5
      },
    })
    const { memory, feature } = user(ops)
    memory.set([1, 2], 8)
    expect(feature(10, GET | 0xa)).toBe(5)
    expect(seen).toEqual([GET | 0xa, [1, 2], 2])
  })

  it('of any bytes is answered with a number or an errno', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 48, maxLength: 48 }), fc.nat({ max: 13 }), (bytes, number) => {
        const { memory, view, feature } = user(new MttyDevice(1))
        memory.set(bytes)
        const [argsz, flags] = [view.getUint32(0, true) % 64, (view.getUint32(4, true) & 0x70000) | number]
        expect([0, 'EINVAL', 'ENOTTY', 'EFAULT', 'E2BIG', 'EOVERFLOW']).toContain(outcome(() => feature(argsz, flags)))
      }),
    )
  })
})

describe('the device state', () => {
  it('gives a descriptor, which is taken back where the user cannot be told', () => {
    const { view, streams, feature, migration } = user(new MttyDevice(1))
    view.setUint32(8, 3, true)
    feature(16, SET | 2)
    expect([view.getUint32(8, true), view.getInt32(12, true)]).toEqual([3, 10])
    view.setUint32(8, 2, true)
    feature(16, SET | 2)
    expect(view.getInt32(12, true)).toBe(-1)
    feature(16, GET | 2)
    expect([view.getUint32(8, true), view.getInt32(12, true)]).toEqual([2, -1])
    expect(streams).toHaveLength(1)
    expect(migration?.state).toBe(2)
  })

  it('writes -1 where it refuses', () => {
    const { view, feature } = user(new MttyDevice(1))
    view.setUint32(8, 99, true)
    view.setInt32(12, 5, true)
    expect(() => feature(16, SET | 2)).toThrow(code('EINVAL'))
    expect(view.getInt32(12, true)).toBe(-1)
  })
})

describe('a stream as a file', () => {
  it('has one direction and no positions', () => {
    const { migration } = user(new MttyDevice(1))
    if (migration === undefined) throw new Error('mtty migrates')
    const saving = new MigrationFile(migration.setState(6) ?? {}, migration)
    expect(() => saving.write(Uint8Array.of(1))).toThrow(code('EBADF'))
    expect(() => saving.read(new Uint8Array(1), 0n)).toThrow(code('ESPIPE'))
    expect(saving.read(new Uint8Array(64))).toBe(24)
    const resuming = new MigrationFile(migration.setState(4) ?? {}, migration)
    expect(() => resuming.read(new Uint8Array(1))).toThrow(code('EBADF'))
    expect(resuming.write(Uint8Array.of(1))).toBe(1)
  })

  it('answers VFIO_MIG_GET_PRECOPY_INFO, leaving the flags alone unless asked to use them', () => {
    const { view, memory, feature, migration, argumentAt } = user(new MttyDevice(1))
    if (migration === undefined) throw new Error('mtty migrates')
    const file = new MigrationFile(migration.setState(6) ?? {}, migration)
    const info = (argsz: number) => {
      memory.set(vfioPrecopyInfo.bytes({ argsz, flags: 5 }), 64)
      file.ioctl(IOCTL.VFIO_MIG_GET_PRECOPY_INFO, argumentAt(64))
      return vfioPrecopyInfo.decode(memory, 64)
    }
    expect(info(24)).toEqual({ argsz: 24, flags: 5, initialBytes: 24n, dirtyBytes: 0n })
    expect(() => info(23)).toThrow(code('EINVAL'))
    expect(() => file.ioctl(1, argumentAt(64))).toThrow(code('ENOTTY'))
    expect(feature(8, SET | 12)).toBe(0)
    expect(info(24).flags).toBe(0)
    expect(view.byteLength).toBe(0x1_0000)
  })
})

describe('DMA logging', () => {
  const logging = () => {
    const ranges: unknown[] = []
    const dirty: [bigint, bigint][] = []
    const dmaLogging = {
      start: (given: readonly unknown[], pageSize: bigint) => {
        ranges.push(...given)
        return pageSize * 2n
      },
      stop: () => void (ranges.length = 0),
      readAndClear: (_iova: bigint, _length: bigint, mark: (iova: bigint, length: bigint) => void) => {
        for (const [iova, length] of dirty) mark(iova, length)
      },
    }
    const made = user(Object.assign(new MttyDevice(1), { dmaLogging }))
    const start = (count: number, pageSize: bigint, given: [bigint, bigint][]) => {
      given.forEach(([iova, length], i) => {
        made.view.setBigUint64(0x100 + i * 16, iova, true)
        made.view.setBigUint64(0x108 + i * 16, length, true)
      })
      made.view.setBigUint64(8, pageSize, true)
      made.view.setUint32(16, count, true)
      made.view.setBigUint64(24, 0x100n, true)
      return made.feature(32, SET | 6)
    }
    const report = (iova: bigint, length: bigint, pageSize: bigint, bitmap = BITMAP) => {
      ;[iova, length, pageSize, bitmap].forEach((value, i) => made.view.setBigUint64(8 + i * 8, value, true))
      return made.feature(40, GET | 8)
    }
    return { ...made, ranges, dirty, start, report }
  }

  it('checks ranges one by one and tells the page size', () => {
    const { view, ranges, start, feature } = logging()
    expect(() => start(0, 4096n, [])).toThrow(code('EINVAL'))
    expect(() => start(257, 4096n, [])).toThrow(code('E2BIG'))
    expect(() => start(1, 4096n, [[1n, 4096n]])).toThrow(code('EINVAL'))
    expect(() => start(1, 4096n, [[(1n << 64n) - 4096n, 4096n]])).toThrow(code('EOVERFLOW'))
    expect(() =>
      start(2, 4096n, [
        [0n, 8192n],
        [4096n, 4096n],
      ]),
    ).toThrow(code('EINVAL'))
    expect(ranges).toEqual([])
    expect(
      start(2, 4096n, [
        [0n, 4096n],
        [4096n, 4096n],
      ]),
    ).toBe(0)
    expect(ranges).toHaveLength(2)
    expect(view.getBigUint64(8, true)).toBe(8192n)
    expect(feature(8, SET | 7)).toBe(0)
    expect(ranges).toEqual([])
  })

  it('or-es the bits of dirty pages in, within the range only', () => {
    const { memory, dirty, report } = logging()
    memory[Number(BITMAP)] = 0x80
    dirty.push([0x1000n, 1n], [0x9fffn, 2n], [0x0n, 0x1n << 40n])
    dirty.pop()
    report(0x1000n, 0xa000n, 0x1000n)
    expect([...memory.subarray(Number(BITMAP), Number(BITMAP) + 3)]).toEqual([0x81, 0x03, 0])
    dirty.push([0n, 1n << 63n])
    report(0x2000n, 0x3000n, 0x1000n)
    expect([...memory.subarray(Number(BITMAP), Number(BITMAP) + 2)]).toEqual([0x87, 0x03])
  })

  it('refuses odd page sizes, ranges beyond the end and bitmaps that are not there', () => {
    const { dirty, report } = logging()
    for (const pageSize of [0n, 2048n, 4097n, 12288n]) expect(() => report(0n, 4096n, pageSize)).toThrow(code('EINVAL'))
    expect(() => report((1n << 64n) - 4096n, 8192n, 4096n)).toThrow(code('EOVERFLOW'))
    expect(report(0n, 4096n, 4096n, 0xffff_0000n)).toBe(0)
    dirty.push([0n, 1n])
    expect(() => report(0n, 4096n, 4096n, 0xffff_0000n)).toThrow(code('EFAULT'))
    expect(() => report(0n, 1n << 63n, 4096n, 0xfffen)).not.toThrow()
  })
})

describe('what a stream tells before the device stops', () => {
  const told = (precopyInfo: NonNullable<MigrationStream['precopyInfo']>, optedIn: boolean) => {
    const device = new MttyDevice(1)
    const migration = new DeviceMigration(device.migration)
    migration.precopyInfoV2 = optedIn
    const memory = vfioPrecopyInfo.bytes({ argsz: vfioPrecopyInfo.size, flags: 0x80 })
    const argument = {
      value: 0n,
      read: (length: number) => memory.slice(0, length),
      write: (data: Uint8Array) => memory.set(data),
    }
    new MigrationFile({ precopyInfo }, migration).ioctl(IOCTL.VFIO_MIG_GET_PRECOPY_INFO, argument)
    return vfioPrecopyInfo.decode(memory)
  }

  it('is whether there are initial bytes anew, to those who opted in', () => {
    const info = () => ({ initialBytes: 5n, dirtyBytes: 6n, reinit: true })
    expect(told(info, true)).toMatchObject({ flags: 1, initialBytes: 5n, dirtyBytes: 6n })
    expect(told(info, false)).toMatchObject({ flags: 0x80, initialBytes: 5n, dirtyBytes: 6n })
    expect(told(() => ({ initialBytes: 5n, dirtyBytes: 6n }), true)).toMatchObject({ flags: 0 })
  })

  it('is refused where it is nonsense', () => {
    for (const junk of [
      undefined,
      null,
      7,
      {},
      { initialBytes: 1, dirtyBytes: 1n },
      { initialBytes: -1n, dirtyBytes: 1n },
    ])
      expect(outcome(() => told(() => junk as never, true))).toBe('EIO')
  })
})
