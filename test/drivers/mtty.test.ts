/** The mtty card: registers, interrupts, configuration space. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { IrqSetRequest } from '../../ts/device/ops.ts'
import { VfioError } from '../../ts/errors.ts'
import { MttyDevice } from '../../ts/drivers/mtty-device.ts'
import { SERIAL_PORT_STATE_SIZE, SerialPort } from '../../ts/drivers/serial-port.ts'
import { outcome } from '../outcome.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const [INTX, MSI, CONFIG] = [0, 1, 7]
const DATA = { none: 1, bool: 2, eventfd: 4 }
const ACTION = { mask: 8, unmask: 0x10, trigger: 0x20 }

/** Counts what an eventfd would count. */
class Counter {
  count = 0n

  signal(value = 1n): void {
    this.count += value
  }

  take(): bigint {
    const taken = this.count
    this.count = 0n
    return taken
  }
}

function card(ports: 1 | 2 = 2) {
  const device = new MttyDevice(ports)
  const read = (offset: number, region = 0, length = 1) => {
    const into = new Uint8Array(length).fill(0xcc)
    expect(device.read(region, BigInt(offset), into)).toBe(length)
    return length === 1 ? into[0] : [...into]
  }
  const write = (offset: number, value: number | number[], region = 0) =>
    device.write(region, BigInt(offset), Uint8Array.from([value].flat()))
  const set = (index: number, flags: number, payload: Counter | number | undefined = undefined, count = 1) => {
    const size = payload === undefined ? 0 : typeof payload === 'number' && (flags & DATA.eventfd) === 0 ? 1 : 4
    const request: IrqSetRequest = {
      ...{ argsz: 20 + size, flags, index, start: 0, count },
      bools: () => Uint8Array.of(Number(payload)),
      eventfds: () => ({
        length: 1,
        fd: () => (payload instanceof Counter ? 3 : Number(payload)),
        get: () => {
          if (payload instanceof Counter) return payload
          throw new VfioError('EBADF', 'eventfd')
        },
      }),
    }
    device.setIrqs(request)
  }
  return { device, read, write, set }
}

describe('a serial port', () => {
  it('starts empty, with its line idle', () => {
    const { read } = card()
    for (const region of [0, 1]) {
      expect([0, 1, 2, 3, 4, 5, 6, 7].map((offset) => read(offset, region))).toEqual([0, 0, 0xc1, 0, 0, 0x60, 0xb3, 0])
    }
  })

  it('loops bytes back, each port its own', () => {
    const { read, write } = card()
    for (const byte of [0x41, 0x42]) write(0, byte)
    write(0, 0x61, 1)
    expect([read(0, 1), read(0), read(0), read(0)]).toEqual([0x61, 0x41, 0x42, 0])
  })

  it('holds one byte without FIFO, and tells of the one lost', () => {
    const { read, write } = card()
    write(2, 0)
    write(0, 1)
    write(0, 2)
    expect([read(5), read(0), read(5)]).toEqual([0x03, 1, 0x62])
  })

  it('reads as empty when exactly full', () => {
    const { read, write } = card()
    write(2, 1)
    for (let i = 0; i < 15; i++) write(0, i)
    expect(read(5)).toBe(0x01)
    write(0, 15)
    expect([read(5), read(0)]).toEqual([0x60, 0])
    write(0, 16)
    expect(read(5)).toBe(0x62)
    write(2, 7)
    write(0, 9)
    expect(read(0)).toBe(9)
  })

  it('or-es the divisor until DLAB is set again', () => {
    const { read, write } = card()
    write(3, 0x83)
    write(0, 0x0c)
    write(0, 0x31)
    write(1, 0x01)
    expect([read(0), read(1), read(3)]).toEqual([0x3d, 0x01, 0x83])
    write(3, 0x80)
    expect([read(0), read(1)]).toEqual([0, 0])
  })

  it('shows four bits of the interrupt enables and all of the modem control', () => {
    const { read, write } = card()
    write(1, 0xff)
    write(4, 0xff)
    expect([read(1), read(4)]).toEqual([0x0f, 0xff])
  })

  it('lowers clear to send where autoflow finds no room', () => {
    const { read, write } = card()
    write(2, 0)
    write(4, 0x20)
    expect(read(6)).toBe(0xb3)
    write(0, 1)
    expect(read(6)).toBe(0xa2)
  })

  it('fills only the first byte of wider accesses', () => {
    const { read, write } = card()
    write(7, 0x5a)
    expect(read(7, 0, 2)).toEqual([0x5a, 0])
    expect(read(4, 0, 4)).toEqual([0, 0, 0, 0])
    write(4, [0x0b, 0xff, 0xff, 0xff])
    expect([read(4), read(7)]).toEqual([0x0b, 0x5a])
  })

  it('keeps its registers over reset and reopening', () => {
    const { device, read, write } = card()
    write(7, 0x99)
    device.reset()
    device.closeDevice()
    expect(read(7)).toBe(0x99)
  })

  it('answers nothing behind the other BARs and EFAULT behind no region', () => {
    const { device, read, write } = card(1)
    write(7, 0x5a, 1)
    expect([read(7, 1), read(0, 5)]).toEqual([0, 0])
    for (const region of [6, 8, 9, 20, 2 ** 23 - 1]) {
      expect(() => device.read(region, 0n, new Uint8Array(1))).toThrow(code('EFAULT'))
      expect(() => device.write(region, 0n, new Uint8Array(1))).toThrow(code('EFAULT'))
    }
  })
})

describe('interrupts', () => {
  const enabled = (index: number) => {
    const made = card()
    const event = new Counter()
    made.device.getInfo()
    made.set(index, DATA.eventfd | ACTION.trigger, event)
    return { ...made, event }
  }

  it('are refused until the card was asked what it is', () => {
    const { device, set } = card()
    const event = new Counter()
    expect(() => device.getIrqInfo(INTX)).toThrow(code('EINVAL'))
    expect(() => set(INTX, DATA.eventfd | ACTION.trigger, event)).toThrow(code('EINVAL'))
    expect(device.getInfo()).toEqual({ flags: 2, numRegions: 9, numIrqs: 5 })
    set(INTX, DATA.eventfd | ACTION.trigger, event)
    expect(device.getIrqInfo(INTX)).toEqual({ flags: 7, count: 1 })
    expect(device.getIrqInfo(MSI)).toEqual({ flags: 9, count: 1 })
    expect(() => device.getIrqInfo(2)).toThrow(code('EINVAL'))
  })

  it('come on the transmitter running empty, masked until unmasked', () => {
    const { read, write, set, event } = enabled(INTX)
    write(1, 2)
    expect(event.take()).toBe(1n)
    write(0, 0x41)
    read(0)
    expect(event.take()).toBe(0n)
    set(INTX, DATA.none | ACTION.unmask)
    write(0, 0x41)
    read(0)
    expect(event.take()).toBe(1n)
  })

  it('come on received data once the FIFO was set up', () => {
    const { write, event } = enabled(MSI)
    write(1, 1)
    write(0, 0x41)
    expect(event.take()).toBe(0n)
    write(2, 0x07)
    write(0, 0x41)
    expect(event.take()).toBe(1n)
    write(0, 0x42)
    expect(event.take()).toBe(0n)
  })

  it('come on overrun, and twice on modem control with OUT2', () => {
    const { write, event } = enabled(MSI)
    write(2, 0)
    write(1, 4)
    write(0, 1)
    write(0, 2)
    expect(event.take()).toBe(1n)
    write(1, 8)
    write(4, 0x0b)
    expect(event.take()).toBe(2n)
  })

  it('are one index at a time', () => {
    const { set, event } = enabled(INTX)
    expect(() => set(MSI, DATA.eventfd | ACTION.trigger, event)).toThrow(code('EINVAL'))
    set(INTX, DATA.none | ACTION.trigger, undefined, 0)
    set(MSI, DATA.eventfd | ACTION.trigger, event)
    expect(() => set(INTX, DATA.none | ACTION.trigger, undefined, 0)).toThrow(code('EINVAL'))
    expect(() => set(MSI, DATA.none | ACTION.mask)).toThrow(code('ENOTTY'))
    for (const index of [2, 3, 4]) expect(() => set(index, DATA.none | ACTION.trigger)).toThrow(code('ENOTTY'))
    expect(() => set(5, DATA.none | ACTION.trigger)).toThrow(code('EINVAL'))
  })

  it('can be tried out, and are gone with a negative descriptor, a bad one or the last close', () => {
    const { device, set, event } = enabled(MSI)
    const trigger = () => set(MSI, DATA.none | ACTION.trigger)
    trigger()
    set(MSI, DATA.bool | ACTION.trigger, 0)
    set(MSI, DATA.bool | ACTION.trigger, 1)
    expect(event.take()).toBe(2n)
    set(MSI, DATA.eventfd | ACTION.trigger, -2)
    expect(trigger).toThrow(code('EINVAL'))
    set(MSI, DATA.eventfd | ACTION.trigger, event)
    expect(() => set(MSI, DATA.eventfd | ACTION.trigger, 999)).toThrow(code('EBADF'))
    expect(trigger).toThrow(code('EINVAL'))
    set(MSI, DATA.eventfd | ACTION.trigger, event)
    device.closeDevice()
    expect(trigger).toThrow(code('EINVAL'))
    expect(event.count).toBe(0n)
  })
})

describe('configuration space', () => {
  it('is that of a serial card with one or two I/O BARs', () => {
    const two = card(2)
    const one = card(1)
    expect(two.read(0, CONFIG, 4)).toEqual([0x48, 0x43, 0x53, 0x32])
    expect(two.read(0x14, CONFIG)).toBe(1)
    expect(one.read(0x14, CONFIG)).toBe(0)
    expect(String.fromCharCode(...(two.read(0x60, CONFIG, 15) as number[]))).toBe('PCI Serial/UART')
    expect(two.read(0xfc, CONFIG, 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  })

  it('takes the interrupt line and BARs and nothing else', () => {
    const { read, write } = card(1)
    const before = read(0, CONFIG, 256) as number[]
    for (let at = 0; at < 256; at++) {
      if (at !== 0x10 && at !== 0x3c) write(at, 0xff, CONFIG)
    }
    expect(read(0, CONFIG, 256)).toEqual(before)
    write(0x3c, [0x0a, 0x0b, 0x0c], CONFIG)
    expect(read(0x3c, CONFIG, 4)).toEqual([0x0a, 1, 0, 0])
    write(0x10, [0xff, 0xff, 0xff, 0xff], CONFIG)
    expect(read(0x10, CONFIG, 4)).toEqual([0xf9, 0xff, 0xff, 0xff])
    write(0x10, [0x34, 0x12, 0, 0], CONFIG)
    expect(read(0x10, CONFIG, 4)).toEqual([0x35, 0x12, 0, 0])
  })
})

describe('whatever a guest does', () => {
  const access = fc.record({
    region: fc.nat({ max: 9 }),
    offset: fc.oneof(fc.nat({ max: 8 }), fc.bigInt({ min: 0n, max: (1n << 40n) - 1n })),
    data: fc.uint8Array({ maxLength: 9 }),
    write: fc.boolean(),
  })

  it('a card answers in full or with EFAULT, and its line status agrees with its data', () => {
    fc.assert(
      fc.property(fc.constantFrom<1 | 2>(1, 2), fc.array(access, { maxLength: 60 }), (ports, accesses) => {
        const { device, read, write } = card(ports)
        for (const { region, offset, data, write: writes } of accesses) {
          const at = BigInt(offset)
          const done = outcome(() => (writes ? device.write(region, at, data) : device.read(region, at, data)))
          expect([data.length, 'EFAULT']).toContain(done)
        }
        for (let region = 0; region < ports; region++) {
          write(3, 0, region)
          const status = read(5, region) as number
          expect((status & 1) !== 0).toBe((status & 0x60) === 0)
          let bytes = 0
          for (; ((read(5, region) as number) & 1) !== 0; bytes++) read(0, region)
          expect(bytes).toBeLessThan(16)
        }
      }),
    )
  })

  it('a port with any state loaded stays within its FIFO', () => {
    const state = fc.uint8Array({ minLength: SERIAL_PORT_STATE_SIZE, maxLength: SERIAL_PORT_STATE_SIZE })
    const step = fc.tuple(fc.boolean(), fc.nat({ max: 9 }), fc.nat({ max: 255 }))
    fc.assert(
      fc.property(state, fc.array(step), (bytes, steps) => {
        let interrupts = 0
        const port = new SerialPort(() => interrupts++)
        port.load(bytes)
        for (const [write, offset, value] of steps) {
          if (write) port.write(offset, value)
          expect(port.read(offset) ?? 0).toBeLessThan(256)
        }
        const saved = port.save()
        const twin = new SerialPort(() => {})
        twin.load(saved)
        expect(twin.save()).toEqual(saved)
        expect(saved).toHaveLength(SERIAL_PORT_STATE_SIZE)
      }),
    )
  })
})
