import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { NativePciDescription, NativePciFunction, NativePciModel, NativeVfioPci } from '../../ts/native/addon.ts'
import { addon } from '../../ts/native/load.ts'
import { VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, VFIO_DEVICE_FEATURE_SET } from '../../ts/uapi/constants.ts'

const { NativeAddressSpace, NativeEventFd, NativeMemory, NativePciFunction, NativeType1, NativeVfioPci } = addon()
const [EFAULT, EBADF, EINVAL, EIO] = [-14, -9, -22, -5]
const CONFIG = 7
const COMMAND = 4
const [MASTER, MEMORY] = [4, 2]
const TRIGGER_EVENTFD = 0x24
const TRIGGER_NONE = 0x21
const [INTX, MSI] = [0, 1]

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)
const u64 = (value: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(value).buffer)

function read32(device: NativeVfioPci, region: number, offset: number): number {
  const into = new Uint8Array(4)
  expect(device.read(region, offset, into)).toBe(4)
  return new DataView(into.buffer).getUint32(0, true)
}

function edu(): NativePciFunction {
  const pci = NativePciFunction.edu({ name: '0000:00:04.0' })
  pci.assign([{ bar: 0, address: 0xfe000000n }], 11)
  return pci
}

function machine(pci: NativePciFunction) {
  const mm = new NativeAddressSpace({ memlock: 64n << 20n, capIpcLock: false })
  const memory = NativeMemory.anonymous(1 << 20)
  const vaddr = mm.map({ memory, offset: 0, length: 1 << 20, read: true, write: true })
  const type1 = new NativeType1(true, 65535)
  type1.attachHw(1, {
    pgsizes: 0x1000n,
    apertureStart: 0n,
    apertureLast: 2n ** 48n - 1n,
    reserved: [],
    cacheCoherency: false,
  })
  expect(type1.mapDma(mm, 3, vaddr, 0x10000, 1 << 20)).toBe(0)
  const device = new NativeVfioPci(pci)
  const dma = type1.openDevice(1, pci.name, 'iommu')
  device.openDevice(dma)
  device.write(CONFIG, COMMAND, u32(MASTER | MEMORY).subarray(0, 2))
  return { memory, type1, device, pci }
}

const BAR: NativePciDescription['bars'][number] = { index: 0, size: 4096, kind: 'memory32' }
const PLAIN: NativePciDescription = { name: 'model', vendor: 0x1234, device: 1, bars: [BAR], msi: 4, interruptPin: 1 }

function modelled(model: NativePciModel, description: NativePciDescription = PLAIN): NativePciFunction {
  const pci = NativePciFunction.fromModel(model, description)
  pci.assign([{ bar: 0, address: 0xfe000000n }], 11)
  return pci
}

afterEach(() => vi.restoreAllMocks())

describe('edu behind vfio-pci', () => {
  it('identifies itself, and moves bytes by DMA both ways', () => {
    const { memory, device, type1 } = machine(edu())
    expect(device.getInfo()).toMatchObject({ flags: 2 | 0, numRegions: 9, numIrqs: 5 })
    expect(device.getRegionInfo(0)).toMatchObject({ size: 1n << 20n, offset: 0n })
    expect(() => device.getRegionInfo(99)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(read32(device, 0, 0)).toBe(0x010000ed)
    device.write(0, 4, u32(0x0f0f0f0f))
    expect(read32(device, 0, 4)).toBe(0xf0f0f0f0)
    memory.write(0, Uint8Array.of(1, 2, 3, 4))
    device.write(0, 0x80, u64(0x10000n))
    device.write(0, 0x88, u64(0x40000n))
    device.write(0, 0x90, u64(4n))
    device.write(0, 0x98, u64(1n))
    device.write(0, 0x80, u64(0x40000n))
    device.write(0, 0x88, u64(0x10100n))
    device.write(0, 0x98, u64(3n))
    expect(memory.readU32(0x100)).toBe(0x04030201)
    expect(type1.faults().total()).toBe(0n)
    device.write(0, 0x88, u64(0x8000000n))
    device.write(0, 0x98, u64(3n))
    expect(type1.faults().records()).toMatchObject([{ device: '0000:00:04.0', access: 'write', reason: 'no-mapping' }])
    device.write(CONFIG, COMMAND, u32(MEMORY).subarray(0, 2))
    device.write(0, 0x98, u64(3n))
    expect(type1.faults().records().at(-1)).toMatchObject({ reason: 'bus-master-off' })
    device.close()
  })

  it('interrupts by message, event by event', () => {
    const { device, pci } = machine(edu())
    const event = NativeEventFd.create()
    device.setIrqs({ argsz: 24, flags: TRIGGER_EVENTFD, index: MSI, start: 0, count: 1, eventfds: [event] })
    expect(pci.interrupts().mode).toBe('msi')
    device.write(0, 0x60, u32(1))
    device.write(0, 0x64, u32(1))
    expect(event.read()).toBe(1n)
    expect(pci.interrupts().messages).toBe(1n)
    device.setIrqs({ argsz: 20, flags: TRIGGER_NONE, index: MSI, start: 0, count: 0 })
    device.write(0, 0x60, u32(1))
    expect(event.read()).toBeUndefined()
    device.close()
  })

  it('reports where a descriptor is none at the entry that the driver reaches', () => {
    const { device } = machine(edu())
    const set = (entry: never): void =>
      device.setIrqs({ argsz: 24, flags: TRIGGER_EVENTFD, index: MSI, start: 0, count: 1, eventfds: [entry] })
    expect(() => set({ errno: 'EBADF' } as never)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => set({ errno: 'EINVAL' } as never)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    const closed = NativeEventFd.create()
    closed.close()
    expect(() => set(closed as never)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => set(5 as never)).toThrow(TypeError)
    expect(() => set('x' as never)).toThrow(TypeError)
    device.close()
  })

  it('is mapped where it is no memory, too', () => {
    const { device } = machine(edu())
    const mapping = device.mmap(0, 0, 4096, { read: true, write: true, shared: true })
    expect(mapping).toMatchObject({ length: 4096, memory: undefined, memoryOffset: 0 })
    const into = new Uint8Array(4)
    expect(mapping.read(0, into)).toBe(0)
    expect([...into]).toEqual([0xed, 0, 0, 1])
    expect(mapping.write(4, u32(0))).toBe(0)
    expect(read32(device, 0, 4)).toBe(0xffffffff)
    expect(mapping.read(4094, into)).toBe(EFAULT)
    mapping.close()
    mapping.close()
    expect(mapping.read(0, into)).toBe(EBADF)
    expect(() => device.mmap(CONFIG, 0, 4096, { read: true, write: true, shared: true })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
    device.close()
  })

  it('answers after it was closed', () => {
    const { device, pci } = machine(edu())
    expect(() => device.openDevice(undefined)).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    device.closeDevice()
    device.closeDevice()
    expect(() => device.getRegionInfo(0)).toThrow(expect.objectContaining({ code: 'ENODEV' }))
    expect(device.read(0, 0, new Uint8Array(4))).toBe(-19)
    device.close()
    device.close()
    expect(device.read(0, 0, new Uint8Array(4))).toBe(EBADF)
    expect(() => device.getInfo()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    pci.close()
    pci.close()
    expect(() => pci.configRead(0, 2)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => pci.reset()).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })
})

describe('a model in JavaScript', () => {
  it('answers accesses of all widths, with DMA and interrupts', () => {
    const log: unknown[] = []
    const pci = modelled({
      read(bar, offset, data) {
        log.push(['read', bar, offset, data.byteLength])
        data.fill(Number(offset) + 1)
      },
      write(bar, offset, data) {
        log.push(['write', bar, offset, [...data]])
        if (offset === 0x10n) expect(pci.dma()?.write(0x10000, Uint8Array.of(42))).toBe(0)
        if (offset === 0x14n) expect(pci.triggerMsi(data[0]!)).toBe(0)
      },
      configWritten: (offset, width) => log.push(['config', offset, width]),
      reset: () => log.push(['reset']),
    })
    const { device, memory } = machine(pci)
    log.length = 0
    expect(read32(device, 0, 4)).toBe(0x05050505)
    expect(device.read(0, 8, new Uint8Array(8))).toBe(8)
    expect(device.write(0, 1, Uint8Array.of(9))).toBe(1)
    expect(device.write(0, 0x10, u32(7))).toBe(4)
    expect(memory.readU8(0)).toBe(42)
    expect(log.slice(0, 1)).toEqual([['read', 0, 4n, 4]])
    expect(log).toContainEqual(['write', 0, 1n, [9]])
    const events = [NativeEventFd.create(), NativeEventFd.create()]
    device.setIrqs({ argsz: 28, flags: TRIGGER_EVENTFD, index: MSI, start: 0, count: 2, eventfds: events })
    device.write(0, 0x14, u32(1))
    expect([events[0]!.read(), events[1]!.read()]).toEqual([undefined, 1n])
    expect(pci.triggerMsi(4)).toBe(EINVAL)
    expect(pci.triggerMsix(0)).toBe(EINVAL)
    expect(pci.dma()).toBe(pci.dma())
    device.close()
    expect(pci.dma()).toBeUndefined()
    pci.close()
  })

  it('drives its line', () => {
    const pci = modelled({})
    const { device } = machine(pci)
    const event = NativeEventFd.create()
    device.setIrqs({ argsz: 24, flags: TRIGGER_EVENTFD, index: INTX, start: 0, count: 1, eventfds: [event] })
    pci.setIntx(true)
    expect(event.read()).toBe(1n)
    expect(pci.interrupts()).toMatchObject({ intx: true, mode: 'intx' })
    pci.setIntx(false)
    device.close()
  })

  it('reads as zeros where it answers nothing', () => {
    const { device } = machine(modelled({}))
    expect(read32(device, 0, 0)).toBe(0)
    expect(device.write(0, 0, u32(1))).toBe(4)
    device.close()
  })

  it('fails the access by EIO, with a warning, when it throws', () => {
    const warned: unknown[] = []
    vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void warned.push(warning))
    const bug = new Error('model bug')
    const { device } = machine(
      modelled({
        read() {
          throw bug
        },
        write() {
          throw 'a string'
        },
      }),
    )
    const into = Uint8Array.of(1, 2, 3, 4)
    expect(device.read(0, 0, into)).toBe(EIO)
    expect([...into]).toEqual([1, 2, 3, 4])
    expect(device.write(0, 0, into)).toBe(EIO)
    expect(warned).toMatchObject([
      { name: 'DeviceModelWarning', message: 'a device model failed: model bug', cause: bug },
      { name: 'DeviceModelWarning', message: "a device model failed: 'a string'", cause: 'a string' },
    ])
    device.close()
  })

  it("may take the caller's array away, or close everything, in the middle", () => {
    let view = new Uint8Array(4)
    const pci = modelled({
      read(_bar, offset, data) {
        data.fill(7)
        if (offset === 0n) structuredClone(view.buffer, { transfer: [view.buffer] })
        if (offset === 4n) structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] })
        if (offset === 8n) {
          device.close()
          pci.close()
        }
      },
    })
    const { device } = machine(pci)
    expect(device.read(0, 0, view)).toBe(4)
    expect(view.length).toBe(0)
    view = new Uint8Array(4)
    expect(device.read(0, 4, view)).toBe(4)
    expect([...view]).toEqual([0, 0, 0, 0])
    expect(device.read(0, 8, view)).toBe(4)
    expect([...view]).toEqual([7, 7, 7, 7])
    expect(device.read(0, 0, view)).toBe(EBADF)
  })

  it('may call back into the access', () => {
    let depth = 0
    const pci = modelled({
      read(_bar, offset, data) {
        if (++depth < 10) {
          const inner = new Uint8Array(data.length)
          expect(device.read(0, offset, inner)).toBe(4)
          data.set(inner)
        } else data.fill(5)
      },
    })
    const { device } = machine(pci)
    expect(read32(device, 0, 0)).toBe(0x05050505)
    expect(depth).toBe(10)
    device.close()
  })

  it('has memory behind a BAR, which can be mapped', () => {
    const memory = NativeMemory.anonymous(8192)
    const pci = modelled({}, { ...PLAIN, bars: [{ ...BAR, size: 8192, memory }] })
    const { device } = machine(pci)
    device.write(0, 0, u32(77))
    expect(memory.readU32(0)).toBe(77)
    const mapping = device.mmap(0, 4096, 4096, { read: true, write: true, shared: true })
    expect(mapping.memoryOffset).toBe(4096)
    expect(mapping.memory?.sameObject(memory)).toBe(true)
    mapping.write(0, u32(78))
    expect(memory.readU32(4096)).toBe(78)
    mapping.close()
    device.close()
  })

  it('is described sensibly, or not at all', () => {
    const type = expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' })
    const make = (description: object, model: unknown = {}): unknown =>
      NativePciFunction.fromModel(model as never, { ...PLAIN, ...description } as never)
    expect(() => make({}, null)).toThrow(type)
    expect(() => make({ name: 5 })).toThrow(type)
    expect(() => make({ bars: 5 })).toThrow(type)
    expect(() => make({ bars: [{ ...BAR, size: 'x' }] })).toThrow(type)
    expect(() => make({ bars: [{ ...BAR, memory: {} }] })).toThrow(type)
    expect(() => make({ vendor: '1' })).toThrow(type)
    for (const bad of [
      { vendor: 0x10000 },
      { classCode: 0x1000000 },
      { bars: [{ ...BAR, index: 6 }] },
      { bars: [{ ...BAR, size: 100 }] },
      { bars: [{ ...BAR, kind: 'rom' }] },
      { bars: [BAR, BAR] },
      { msi: 3 },
      { msi: 64 },
      { interruptPin: 5 },
      { msix: { vectors: 4, tableBar: 1, tableOffset: 0, pbaBar: 0, pbaOffset: 0x800 } },
      { msix: { vectors: 4000, tableBar: 0, tableOffset: 0, pbaBar: 0, pbaOffset: 0x800 } },
    ]) {
      expect(() => make(bad), JSON.stringify(bad)).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^(EINVAL|ERR_OUT_OF_RANGE)$/) }),
      )
    }
    expect(() => NativePciFunction.edu({} as never)).toThrow(type)
    expect(() => new NativeVfioPci({} as never)).toThrow(type)
    expect(() => NativePciFunction.resetBus([{} as never])).toThrow(type)
  })

  it('answers whatever it is asked', () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const pci = modelled({
      read(_bar, offset, data) {
        if (offset % 3n === 0n) throw new Error('no')
        data.fill(1)
      },
    })
    const { device } = machine(pci)
    const event = NativeEventFd.create()
    const offset = fc.oneof(fc.nat(5000), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }))
    const index = fc.oneof(fc.nat(12), fc.constant(0xffffffff))
    const number = fc.oneof(fc.nat(40), fc.constant(0xffffffff))
    fc.assert(
      fc.property(fc.nat(8), index, offset, fc.nat(70), number, fc.nat(63), (op, region, at, length, count, flags) => {
        const bytes = new Uint8Array(length)
        try {
          if (op < 3) device.read(region, at, bytes)
          else if (op < 5 && region !== CONFIG) device.write(region, at, bytes)
          else if (op === 5) device.getRegionInfo(region)
          else if (op === 6) device.mmap(region, at, length, { read: true, write: true, shared: true }).close()
          else if (op === 7) {
            const eventfds = Array.from(
              { length: length % 4 },
              (_, i) => [event, null, -7, { errno: 'EBADF' }][i] as never,
            )
            device.setIrqs({
              argsz: 20 + length,
              flags,
              index: region,
              start: count,
              count: length % 4,
              bools: bytes,
              eventfds,
            })
          } else device.ioeventfd(flags, at, 1, flags & 1 ? event : null)
        } catch (error) {
          expect((error as { code: string }).code).toMatch(/^E[A-Z]+$/)
        }
      }),
      { numRuns: 3000 },
    )
    device.close()
    pci.close()
  })
})

describe('features', () => {
  it('ask for their argument, and pass on what it throws', () => {
    const { device } = machine(edu())
    const argument = {
      length: 0,
      read: () => new Uint8Array(0),
      write: () => {},
      event: () => NativeEventFd.create(),
    }
    const absent = 0x1ff
    expect(() => device.deviceFeature(absent, argument)).toThrow(expect.objectContaining({ code: 'ENOTTY' }))
    const wakeup = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP | VFIO_DEVICE_FEATURE_SET
    expect(() => device.deviceFeature(wakeup, argument)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    const faulty = {
      ...argument,
      length: 8,
      read: () => {
        throw new Error('no memory')
      },
    }
    expect(() => device.deviceFeature(wakeup, faulty)).toThrow('no memory')
    const short = { ...argument, length: 8, read: () => new Uint8Array(3) }
    expect(() => device.deviceFeature(wakeup, short)).toThrow(expect.objectContaining({ code: 'EFAULT' }))
    const unknown = {
      ...argument,
      length: 8,
      read: (length: number) => new Uint8Array(length).fill(1),
      event: (fd: number) => {
        throw new Error(`no descriptor ${fd}`)
      },
    }
    expect(() => device.deviceFeature(wakeup, unknown)).toThrow('no descriptor 16843009')
    device.close()
  })
})
