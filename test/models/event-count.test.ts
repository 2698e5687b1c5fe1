/** Event counters that are looked at without being taken. */
import { SoftwareHost } from 'vfio'
import { afterAll, describe, expect, it } from 'vitest'
import { addon } from '../../ts/native/load.ts'

const MAX = 2n ** 64n - 2n
const [EAGAIN, EINVAL, EBADF] = [-11, -22, -9]
const [POLLIN, POLLOUT] = [1, 4]

describe('a native event counter', () => {
  it('tells count and room, and adds as an eventfd does', (ctx) => {
    if (process.platform !== 'linux') ctx.skip(`${process.platform} has no eventfds`)
    const event = addon().NativeEventFd.create(0)
    expect([event.count(), event.poll()]).toEqual([0n, POLLOUT])
    expect(event.add(0)).toBe(0)
    expect([event.count(), event.poll()]).toEqual([0n, POLLOUT])
    expect(event.add(MAX - 1n)).toBe(0)
    expect([event.count(), event.poll()]).toEqual([MAX - 1n, POLLIN | POLLOUT])
    expect(event.add(2)).toBe(EAGAIN)
    expect(event.add(1)).toBe(0)
    expect([event.count(), event.poll()]).toEqual([MAX, POLLIN])
    expect([event.add(0), event.add(1), event.add(2n ** 64n - 1n)]).toEqual([0, EAGAIN, EINVAL])
    expect(event.read()).toBe(MAX)
    expect(event.count()).toBe(0n)
    event.close()
    expect(event.add(1)).toBe(EBADF)
    expect(() => event.count()).toThrow(expect.objectContaining({ code: 'EBADF' }))
    expect(() => event.poll()).toThrow(expect.objectContaining({ code: 'EBADF' }))
  })
})

describe('an eventfd of a process', () => {
  const host = new SoftwareHost()
  afterAll(() => host.close())
  const bytes = (value: bigint) => new Uint8Array(BigUint64Array.of(value).buffer)

  it('polls and overflows as in the kernel', () => {
    const fd = host.process().eventfd()
    expect(fd.poll()).toBe(POLLOUT)
    expect(fd.write(bytes(MAX - 1n))).toBe(8)
    expect(fd.poll()).toBe(POLLIN | POLLOUT)
    expect(() => fd.write(bytes(2n))).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
    expect(fd.write(bytes(1n))).toBe(8)
    expect(fd.poll()).toBe(POLLIN)
    expect(() => fd.write(bytes(2n ** 64n - 1n))).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    const into = new Uint8Array(8)
    expect(fd.read(into)).toBe(8)
    expect(into).toEqual(bytes(MAX))
    expect(() => fd.read(into)).toThrow(expect.objectContaining({ code: 'EAGAIN' }))
    fd.close()
  })
})
