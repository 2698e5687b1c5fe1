import { readdirSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import type { Binding } from '../../ts/native/binding.ts'
import { addon } from '../../ts/native/load.ts'
import type { NativeEventFd } from '../../ts/native/addon.ts'
import { EventFdHandle } from '../../ts/native/event-fd.ts'
import { target } from '../../ts/native/target.ts'
import { needsLinux } from '../needs.ts'

const { NativeEventFd } = addon()
const binding = createRequire(import.meta.url)(`../../native/vfio.${target()}.node`) as Binding

/** Lets the event loop look at its descriptors, more than once. */
async function turn(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve))
}
const inProcess = (): NativeEventFd => new EventFdHandle(binding, binding.NativeEventFd.inProcess(0n))

describe.each([
  ['with a descriptor', () => NativeEventFd.create()],
  ['without a descriptor', inProcess],
])('an event counter %s', (_, create) => {
  it('adds up and is taken whole', () => {
    const event = create()
    expect(event.read()).toBeUndefined()
    event.signal()
    event.signal(41n)
    expect(event.read()).toBe(42n)
    expect(event.read()).toBeUndefined()
    event.signal(2n ** 64n - 1n)
    event.signal()
    expect(event.read()).toBe(2n ** 64n - 2n)
    event.close()
  })

  it('calls back on the event loop, once for all that came before', async () => {
    const event = create()
    const counts: bigint[] = []
    event.watch((count) => counts.push(count))
    for (let i = 0; i < 1000; i++) event.signal()
    expect(counts).toEqual([])
    await turn()
    expect(counts.reduce((sum, count) => sum + count, 0n)).toBe(1000n)
    expect(counts.length).toBeLessThan(5)
    event.signal(5)
    await turn()
    expect(counts.at(-1)).toBe(5n)
    event.unwatch()
    event.signal()
    await turn()
    expect(counts.at(-1)).toBe(5n)
    expect(event.read()).toBe(1n)
    event.close()
  })

  it('delivers what was there before the watch', async () => {
    const event = create()
    event.signal(3)
    const count = await new Promise((resolve) => event.watch(resolve))
    expect(count).toBe(3n)
    event.close()
  })

  it('is watched by one at a time, also from inside the callback', async () => {
    const event = create()
    event.watch(() => {})
    expect(() => event.watch(() => {})).toThrow(expect.objectContaining({ code: 'EBUSY' }))
    event.unwatch()
    event.unwatch()
    const seen: string[] = []
    event.watch((count) => {
      seen.push(`first ${count}`)
      event.unwatch()
      event.watch((again) => {
        seen.push(`second ${again}`)
        event.close()
      })
      event.signal(2)
    })
    event.signal(1)
    await turn()
    expect(seen).toEqual(['first 1', 'second 2'])
  })

  it('answers EBADF once closed', () => {
    const event = create()
    event.watch(() => {})
    event.close()
    event.close()
    const gone = expect.objectContaining({ code: 'EBADF' })
    expect(() => event.signal()).toThrow(gone)
    expect(() => event.read()).toThrow(gone)
    expect(() => event.fd()).toThrow(gone)
    expect(() => event.watch(() => {})).toThrow(gone)
    event.unwatch()
  })

  it('refuses wrong shapes', () => {
    const event = create()
    expect(() => event.signal('1' as never)).toThrow(TypeError)
    expect(() => event.signal(-1)).toThrow(RangeError)
    expect(() => event.signal(2n ** 64n)).toThrow(RangeError)
    expect(() => event.watch(5 as never)).toThrow(TypeError)
    expect(() => NativeEventFd.create({} as never)).toThrow(TypeError)
    event.close()
  })
})

describe('an eventfd', () => {
  needsLinux('eventfds')
  it('is written and read by others', async () => {
    const event = NativeEventFd.create()
    const bytes = new BigUint64Array([7n])
    writeSync(event.fd(), bytes)
    expect(event.read()).toBe(7n)
    const count = new Promise((resolve) => event.watch(resolve))
    writeSync(event.fd(), bytes)
    expect(await count).toBe(7n)
    event.unwatch()
    event.signal(9)
    expect(readSync(event.fd(), new Uint8Array(bytes.buffer))).toBe(8)
    expect(bytes[0]).toBe(9n)
    event.close()
  })

  it('can be taken part in by its number', () => {
    const event = NativeEventFd.create()
    const other = NativeEventFd.fromFd(event.fd())
    event.close()
    other.signal(2)
    expect(other.read()).toBe(2n)
    other.close()
    expect(() => NativeEventFd.fromFd(987654)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => NativeEventFd.fromFd(-1)).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => NativeEventFd.fromFd(0)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    expect(() => NativeEventFd.fromFd('0' as never)).toThrow(TypeError)
  })

  it('leaks no descriptor over thousands of lives', async () => {
    const count = (): number => readdirSync('/proc/self/fd').length
    const live = async (): Promise<void> => {
      for (let i = 0; i < 50; i++) {
        const events = Array.from({ length: 40 }, () => NativeEventFd.create())
        for (const event of events) {
          event.watch(() => {})
          event.signal()
        }
        for (const event of events) event.close()
      }
      await turn()
    }
    await live()
    const before = count()
    await live()
    expect(count()).toBeLessThanOrEqual(before + 2)
  })
})
