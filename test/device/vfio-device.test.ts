import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Container } from '../../ts/container/container.ts'
import { Device } from '../../ts/device/device-handle.ts'
import { DeviceSession } from '../../ts/device/device-session.ts'
import type { VfioDeviceOps } from '../../ts/device/ops.ts'
import { Group } from '../../ts/group/group.ts'
import { errnoOf, TestMachine } from '../parts/machine.ts'

const EDU = '0000:00:04.0'

function open(ops: Partial<VfioDeviceOps> = {}) {
  const machine = new TestMachine()
  const { device: vfioDevice, group: vfioGroup } = machine.plain(EDU, ops)
  const container = new Container(machine.container(), machine.process)
  const group = new Group(vfioGroup, machine.process)
  group.setContainer(container)
  container.setIommu(3)
  return { machine, vfioDevice, group, device: group.getDevice(EDU) }
}

describe('a registered device', () => {
  it('runs the callbacks of its driver at the first open and the last close', () => {
    const calls: string[] = []
    const { device, group } = open({
      init: () => calls.push('init'),
      openDevice: () => calls.push('open'),
      closeDevice: () => calls.push('close'),
    })
    const second = group.getDevice(EDU)
    device.close()
    expect(calls).toEqual(['init', 'open'])
    second.close()
    expect(calls).toEqual(['init', 'open', 'close'])
  })

  it('refuses to be opened from within its own opening', () => {
    let inner = ''
    const machine = new TestMachine()
    const group = new Group(
      machine.plain(EDU, { openDevice: () => void (inner = errnoOf(() => group.getDevice(EDU))) }).group,
      machine.process,
    )
    const container = new Container(machine.container(), machine.process)
    group.setContainer(container)
    container.setIommu(3)
    group.getDevice(EDU).close()
    expect(inner).toBe('EBUSY')
    group.unsetContainer()
  })

  it('is detached although its driver fails to close it', () => {
    const { machine, group, device } = open({
      closeDevice: () => {
        throw new Error('broken model')
      },
    })
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    device.close()
    expect(device.closed).toBe(true)
    expect(warned).toHaveBeenCalledWith(expect.objectContaining({ name: 'DeviceModelWarning' }))
    warned.mockRestore()
    group.unsetContainer()
    expect(machine.driver.diary.at(-1)).toBe('release')
  })

  it('is opened by one user only through its own file', () => {
    const { vfioDevice } = open()
    const access = { kind: 'cdev' as const, openDevice: () => undefined, closeDevice: () => {} }
    expect(errnoOf(() => DeviceSession.open(vfioDevice, access))).toBe('EINVAL')
  })

  it('refuses everything before access is granted, and after it was closed', () => {
    const { vfioDevice, device } = open()
    expect(errnoOf(() => new DeviceSession(vfioDevice).info())).toBe('EINVAL')
    const argument = { value: 0n, read: () => new Uint8Array(), write: () => {} }
    const descriptors = { event: () => ({ signal: () => {} }), installRegion: () => 0 }
    expect(errnoOf(() => new DeviceSession(vfioDevice).ioctl(0x3bc8, argument, descriptors))).toBe('EINVAL')
    device.close()
    expect(errnoOf(() => device.info())).toBe('EBADF')
    expect(errnoOf(() => device.region(0))).toBe('EBADF')
    expect(errnoOf(() => device.reset())).toBe('EBADF')
  })

  it('answers ENOTTY for what its driver lacks', () => {
    const { device } = open()
    expect(errnoOf(() => device.reset())).toBe('ENOTTY')
    expect(errnoOf(() => device.hotResetInfo())).toBe('ENOTTY')
    expect(errnoOf(() => device.ioeventfd(0, 0, 4, 1, null))).toBe('ENOTTY')
    expect(errnoOf(() => device.region(0).mmap())).toBe('EINVAL')
  })
})

describe('unregistering a device', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('finishes at once when nobody uses it', () => {
    const { machine, vfioDevice, device } = open()
    device.close()
    const finished = vi.fn<() => void>()
    machine.registry.unregisterGroupDev(vfioDevice, finished)
    expect(finished).toHaveBeenCalledOnce()
    expect(vfioDevice.registered).toBe(false)
  })

  it('asks its users, again and again, until the last has closed it', () => {
    const request = vi.fn<(count: number) => void>()
    const { machine, vfioDevice, device, group } = open({ request })
    const counts: number[] = []
    device.on('request', (count) => counts.push(count))
    const finished = vi.fn<() => void>()
    machine.registry.unregisterGroupDev(vfioDevice, finished)
    expect(counts).toEqual([0])
    expect(errnoOf(() => group.getDevice(EDU))).toBe('ENODEV')
    vi.advanceTimersByTime(20_000)
    expect(counts).toEqual([0, 1, 2])
    expect(request.mock.calls).toEqual([[0], [1], [2]])
    expect(device.info().numRegions).toBe(1)
    expect(finished).not.toHaveBeenCalled()
    device.close()
    expect(finished).toHaveBeenCalledOnce()
    vi.advanceTimersByTime(60_000)
    expect(counts).toEqual([0, 1, 2])
  })

  it('asks its users though its driver fails', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { machine, vfioDevice, device } = open({
      request: () => {
        throw new Error('driver bug')
      },
    })
    const counts: number[] = []
    device.on('request', (count) => counts.push(count))
    machine.registry.unregisterGroupDev(vfioDevice, () => {})
    vi.advanceTimersByTime(10_000)
    expect(counts).toEqual([0, 1])
    expect(warned).toHaveBeenCalledTimes(2)
    device.close()
    warned.mockRestore()
  })

  it('finishes within the call when its user closes on request', () => {
    const { machine, vfioDevice, device } = open()
    const closed = vi.fn<() => void>()
    device.on('close', closed)
    device.on('request', () => device.close())
    const finished = vi.fn<() => void>()
    machine.registry.unregisterGroupDev(vfioDevice, finished)
    expect(finished).toHaveBeenCalledOnce()
    expect(closed).toHaveBeenCalledOnce()
    machine.registry.unregisterGroupDev(vfioDevice)
    vfioDevice.put()
  })
})

describe('a hot reset', () => {
  const sibling = (group: number, devfn: number, bound = true) => ({ group, segment: 0, bus: 0, devfn, bound })

  it('needs the groups of all devices that it reaches', () => {
    const reset = vi.fn<() => void>()
    const hotReset = { affected: () => [sibling(0, 0x20), sibling(7, 0x21)], reset }
    const { device, group } = open({ hotReset })
    expect(device.hotResetInfo()).toHaveLength(2)
    expect(errnoOf(() => device.hotReset([group]))).toBe('EINVAL')
    device.hotReset([group, { number: 7 }])
    expect(reset).toHaveBeenCalledOnce()
  })

  it('reaches no device that has no VFIO driver', () => {
    const hotReset = { affected: () => [sibling(0, 0x20), sibling(0, 0x21, false)], reset: () => {} }
    const { device, group } = open({ hotReset })
    expect(errnoOf(() => device.hotReset([group]))).toBe('EINVAL')
  })
})

describe('a device handle', () => {
  it('lists the regions and interrupts that are there', () => {
    const { device } = open({ getInfo: () => ({ flags: 0, numRegions: 3, numIrqs: 2 }) })
    expect(device.regions().map((region) => region.index)).toEqual([0])
    expect(device.irqs().map((irq) => irq.index)).toEqual([0])
    expect(device).toBeInstanceOf(Device)
  })
})
