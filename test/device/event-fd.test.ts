import { describe, expect, it } from 'vitest'
import { EventFd } from '../../ts/device/event-fd.ts'

describe('an event counter', () => {
  it('adds signals up until the count is taken', () => {
    using event = EventFd.create(2)
    event.signal()
    event.signal(3n)
    expect(event.read()).toBe(6n)
    expect(event.read()).toBeUndefined()
  })

  it('takes no signal that is no number', () => {
    using event = EventFd.create()
    expect(() => event.signal(-1)).toThrow(RangeError)
    expect(() => event.signal('1' as never)).toThrow(TypeError)
    expect(() => EventFd.create(1.5)).toThrow(RangeError)
  })

  it('is waited for, before and after it is signalled', async () => {
    using event = EventFd.create()
    event.signal()
    expect(await event.wait()).toBe(1n)
    const waiting = event.wait()
    setImmediate(() => event.signal(5n))
    expect(await waiting).toBe(5n)
  })

  it('serves those who wait in turn', async () => {
    using event = EventFd.create()
    const first = event.wait()
    const second = event.wait()
    event.signal()
    expect(await first).toBe(1n)
    event.signal(2n)
    expect(await second).toBe(2n)
  })

  it('stops waiting on an abort, and goes on to the next', async () => {
    using event = EventFd.create()
    const abort = new AbortController()
    const first = event.wait({ signal: abort.signal })
    const second = event.wait()
    abort.abort(new Error('enough'))
    await expect(first).rejects.toThrow('enough')
    event.signal()
    expect(await second).toBe(1n)
    await expect(event.wait({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
    await expect(event.wait({ signal: AbortSignal.timeout(5) })).rejects.toMatchObject({ name: 'TimeoutError' })
  })

  it('yields counts until it is closed', async () => {
    const event = EventFd.create()
    const seen: bigint[] = []
    setImmediate(() => event.signal(1n))
    for await (const count of event) {
      seen.push(count)
      if (seen.length === 2) event.close()
      else setImmediate(() => event.signal(2n))
    }
    expect(seen).toEqual([1n, 2n])
  })

  it('refuses use after close, and tells those who wait', async () => {
    const event = EventFd.create()
    const waiting = event.wait()
    event.close()
    event.close()
    await expect(waiting).rejects.toMatchObject({ code: 'EBADF' })
    await expect(event.wait()).rejects.toMatchObject({ code: 'EBADF' })
    expect(() => event.signal()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => event.read()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(event.fd).toBe(-1)
    event.sink.signal()
  })
})
