import { describe, expect, it } from 'vitest'
import { Container } from '../../ts/container/container.ts'
import { EventFd } from '../../ts/device/event-fd.ts'
import { checkIrqSet } from '../../ts/device/irq-set.ts'
import type { EventTarget64, IrqSetRequest } from '../../ts/device/ops.ts'
import { VfioError } from '../../ts/errors.ts'
import { Group } from '../../ts/group/group.ts'
import { errnoOf, TestMachine } from '../parts/machine.ts'

const COUNT = 3

/** A device with one index of three interrupts, which keeps what it is told. */
function device() {
  const requests: Pick<IrqSetRequest, 'flags' | 'index' | 'start' | 'count'>[] = []
  const triggers: (EventTarget64 | undefined)[] = []
  const machine = new TestMachine()
  const { group: vfioGroup } = machine.plain('dev', {
    getIrqInfo: (index) => {
      if (index !== 0) throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_IRQ_INFO')
      return { flags: 1, count: COUNT }
    },
    setIrqs: (request) => {
      const { eventfds } = checkIrqSet(request, COUNT, 1)
      const { flags, index, start, count } = request
      requests.push({ flags, index, start, count })
      for (let i = 0; i < (eventfds?.length ?? 0); i++)
        triggers[start + i] = eventfds?.fd(i) === -1 ? undefined : eventfds?.get(i)
      if (flags === 0x21 && count === 0) triggers.length = 0
    },
  })
  const group = new Group(vfioGroup, machine.process)
  const container = new Container(machine.container(), machine.process)
  group.setContainer(container)
  container.setIommu(3)
  const handle = group.getDevice('dev')
  return { handle, irq: handle.irq(0), requests, triggers }
}

describe('an interrupt index', () => {
  it('gives an event for each interrupt that is enabled', async () => {
    const { irq, triggers } = device()
    using vectors = irq.enable(2)
    expect(vectors.length).toBe(2)
    triggers[1]?.signal()
    expect(await vectors.vector(1).wait({ signal: AbortSignal.timeout(1000) })).toBe(1n)
    expect(vectors.vector(0).read()).toBeUndefined()
    expect(() => vectors.vector(2)).toThrow(RangeError)
  })

  it('gives nothing up where it got nothing', () => {
    const { irq, requests } = device()
    const vectors = irq.enable([], { start: 0 })
    irq.disable()
    const made = requests.length
    vectors.close()
    expect(requests.length).toBe(made)
  })

  it('takes events of its user, and leaves them to him', () => {
    const { irq, triggers } = device()
    using event = EventFd.create()
    const vectors = irq.enable([null, event], { start: 1 })
    expect(triggers[1]).toBeUndefined()
    triggers[2]?.signal(4n)
    expect(event.read()).toBe(4n)
    expect(() => vectors.vector(0)).toThrow(RangeError)
    vectors.close()
    vectors.close()
    expect(triggers).toEqual([])
    expect(event.closed).toBe(false)
  })

  it('disables a part while another is enabled, and the index with the last', () => {
    const { irq, requests, triggers } = device()
    const first = irq.enable(1)
    const second = irq.enable(1, { start: 1 })
    first.close()
    expect(requests.at(-1)).toEqual({ flags: 0x24, index: 0, start: 0, count: 1 })
    expect(triggers[0]).toBeUndefined()
    expect(triggers[1]).toBeDefined()
    second.close()
    expect(requests.at(-1)).toEqual({ flags: 0x21, index: 0, start: 0, count: 0 })
  })

  it('has a form for each of the nine', () => {
    const { irq, requests } = device()
    using event = EventFd.create()
    irq.trigger(1, 2)
    irq.triggerIf([true, false])
    irq.mask()
    irq.maskIf([true])
    irq.maskOn([event])
    irq.unmask(2)
    irq.unmaskIf([false, true], 1)
    irq.unmaskOn([null])
    irq.disable()
    expect(requests.map((request) => [request.flags, request.start, request.count])).toEqual([
      [0x21, 1, 2],
      [0x22, 0, 2],
      [0x09, 0, 1],
      [0x0a, 0, 1],
      [0x0c, 0, 1],
      [0x11, 2, 1],
      [0x12, 1, 2],
      [0x14, 0, 1],
      [0x21, 0, 0],
    ])
  })

  it('refuses more than there are, without using up descriptors', () => {
    const { irq } = device()
    expect(errnoOf(() => irq.enable(COUNT + 1))).toBe('EINVAL')
    expect(errnoOf(() => irq.enable(0xffff_ffff))).toBe('EINVAL')
    expect(errnoOf(() => irq.trigger(0xffff_ffff, 0xffff_ffff))).toBe('EINVAL')
  })

  it('checks shapes', () => {
    const { irq, handle } = device()
    expect(() => irq.enable('1' as never)).toThrow(TypeError)
    expect(() => irq.enable([5 as never])).toThrow(TypeError)
    expect(() => irq.mask(-1)).toThrow(RangeError)
    expect(errnoOf(() => handle.irq(1))).toBe('EINVAL')
  })

  it('ends with its device, and those who wait are told', async () => {
    const { irq, handle } = device()
    const vectors = irq.enable(1)
    const waiting = vectors.vector(0).wait()
    handle.close()
    await expect(waiting).rejects.toMatchObject({ code: 'EBADF' })
    vectors.close()
    expect(errnoOf(() => irq.enable(1))).toBe('EBADF')
  })
})
