/** Taking mediated devices and parents away, idle and in use. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { VfioError } from '../../ts/errors.ts'
import { MttyDevice } from '../../ts/drivers/mtty-device.ts'
import { machine, mttyMachine, open, OTHER, TYPES, UUID } from './machine.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const removeFile = `/sys/bus/mdev/devices/${UUID}/remove`

describe('removing an idle device', () => {
  it('is over when the call returns', async () => {
    using host = mttyMachine()
    const mdev = host.mdev.create('mtty-1', UUID)
    const removal = mdev.remove()
    expect(mdev.state).toBe('removed')
    expect(host.mdev.get(UUID)).toBeUndefined()
    expect(host.sysfs.exists(mdev.path)).toBe(false)
    expect(host.sysfs.list('/sys/bus/mdev/devices')).toEqual([])
    expect(host.sysfs.list(`${TYPES}/mtty-1/devices`)).toEqual([])
    expect(host.sysfs.list('/sys/kernel/iommu_groups')).toEqual([])
    expect(host.sysfs.read(`${TYPES}/mtty-1/available_instances`)).toBe('24\n')
    await removal
    await mdev.remove()
  })

  it('makes room for the same UUID', () => {
    using host = mttyMachine()
    host.mdev.create('mtty-1', UUID)
    host.sysfs.write(removeFile, '1')
    expect(host.mdev.create('mtty-2', UUID).state).toBe('active')
  })

  it('takes any number but zero, and nothing else, for a yes', () => {
    using host = mttyMachine()
    host.mdev.create('mtty-1', UUID)
    for (const text of ['x', '-1', '1 ', '0x', '99999999999999999999999'])
      expect(() => host.sysfs.write(removeFile, text), text).toThrow(code('EINVAL'))
    for (const text of ['', '0', '0\n', '00', '0x0']) expect(host.sysfs.write(removeFile, text)).toBe(text.length)
    expect(host.mdev.get(UUID)?.state).toBe('active')
    expect(host.sysfs.write(removeFile, '0x10\n')).toBe(5)
    expect(host.mdev.get(UUID)).toBeUndefined()
    expect(() => host.sysfs.write(removeFile, '1')).toThrow(code('ENOENT'))
  })
})

describe('removing a device in use', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const machineWith = (request: (count: number) => void, instances = 1) => {
    const host = machine()
    const removed: string[] = []
    host.mdev.registerParent('p', {
      types: [{ name: 'a', instances }],
      probe: () => Object.assign(new MttyDevice(1), { request }),
      remove: (mdev) => removed.push(mdev.uuid),
    })
    return { ...host, removed, mdev: host.mdev, device: host.mdev.create('p-a', UUID) }
  }

  it('asks again and again and ends when the user lets go', async () => {
    const asked: number[] = []
    using host = machineWith((count) => asked.push(count))
    const user = open(host.device)
    const heard: number[] = []
    user.onRequest = (count) => heard.push(count)
    const removal = host.device.remove()
    expect(host.device.remove()).toBe(removal)
    expect(host.device.state).toBe('removing')
    vi.advanceTimersByTime(25_000)
    expect(asked).toEqual([0, 1, 2])
    expect(heard).toEqual([0, 1, 2])
    expect(host.removed).toEqual([])
    user.close()
    expect(host.removed).toEqual([UUID])
    expect(host.mdev.devices).toEqual([])
    await removal
    vi.advanceTimersByTime(60_000)
    expect(asked).toHaveLength(3)
  })

  it('keeps the device visible but no longer to be had meanwhile', () => {
    using host = machineWith(() => {})
    const user = open(host.device)
    const device = host.device.group?.devices[0]
    expect(host.sysfs.write(removeFile, '1')).toBe(1)
    expect(host.sysfs.exists(removeFile)).toBe(false)
    expect(host.sysfs.exists(`/sys/bus/mdev/devices/${UUID}/mdev_type`)).toBe(false)
    expect(host.sysfs.list('/sys/bus/mdev/devices')).toEqual([UUID])
    expect(() => host.mdev.create('p-a', UUID)).toThrow(code('EEXIST'))
    expect(() => host.mdev.create('p-a', OTHER)).toThrow(code('EUSERS'))
    expect(device?.registered).toBe(false)
    expect(user.read(0, 5n, new Uint8Array(1))).toBe(1)
    user.close()
    expect(host.sysfs.list('/sys/bus/mdev/devices')).toEqual([])
    expect(host.mdev.create('p-a', UUID).state).toBe('active')
  })

  it('waits for an unbinding that has begun', async () => {
    using host = machineWith(() => {})
    const user = open(host.device)
    host.sysfs.write('/sys/bus/mdev/drivers/p/unbind', `${UUID}\n`)
    const removal = host.device.remove()
    expect(host.device.state).toBe('removing')
    user.close()
    await removal
    expect(host.removed).toEqual([UUID])
  })

  it('lets a parent go with its last device', async () => {
    using host = machineWith(() => {}, 2)
    const user = open(host.device)
    const parent = host.device.parent
    const leaving = host.mdev.unregisterParent(parent)
    expect(host.sysfs.exists('/sys/class/mdev_bus/p')).toBe(false)
    expect(() => host.mdev.create(host.device.type)).toThrow(code('ENODEV'))
    expect(() => host.mdev.registerParent('p', { types: [], probe: () => new MttyDevice(1) })).toThrow(code('EEXIST'))
    user.close()
    await leaving
    expect(host.mdev.parents).toEqual([])
    expect(host.sysfs.exists('/sys/devices/virtual/p')).toBe(false)
    expect(host.mdev.drivers).toEqual([])
  })
})

describe('a driver that refuses', () => {
  it('keeps the device, but not against its parent', async () => {
    using host = machine()
    const parent = host.mdev.registerParent('p', {
      types: [{ name: 'a' }],
      probe: () => new MttyDevice(1),
      removing: () => {
        throw new VfioError('EBUSY', 'remove')
      },
    })
    const mdev = host.mdev.create('p-a', UUID)
    await expect(mdev.remove()).rejects.toThrow(code('EBUSY'))
    expect(() => host.sysfs.write(removeFile, '1')).toThrow(code('EBUSY'))
    expect(mdev.state).toBe('active')
    expect(host.sysfs.exists(removeFile)).toBe(true)
    await parent.unregister()
    expect(mdev.state).toBe('removed')
  })

  it('whose remove fails is heard by whoever removes, and the device is gone', async () => {
    using host = machine()
    host.mdev.registerParent('p', {
      types: [{ name: 'a' }],
      probe: () => new MttyDevice(1),
      remove: () => {
        throw new Error('bug')
      },
    })
    const mdev = host.mdev.create('p-a', UUID)
    await expect(mdev.remove()).rejects.toThrow('bug')
    expect(host.mdev.devices).toEqual([])
  })

  it('may call back from its probe', () => {
    using host = machine()
    const seen: unknown[] = []
    const parent = host.mdev.registerParent('p', {
      types: [{ name: 'a' }],
      probe: (mdev) => {
        mdev.remove().catch((error: unknown) => seen.push(error))
        void parent.unregister()
        return new MttyDevice(1)
      },
    })
    const mdev = host.mdev.create('p-a', UUID)
    expect(mdev.state).toBe('removed')
    expect(host.mdev.parents).toEqual([])
  })
})

describe('closing the bus', () => {
  it('takes everything away and refuses from then on', () => {
    const host = mttyMachine()
    host.mdev.create('mtty-1', UUID)
    host.mdev.close()
    host.mdev.close()
    expect(host.sysfs.list('/sys/bus/mdev/devices')).toEqual([])
    expect(host.mdev.parents).toEqual([])
    expect(() => host.mdev.create('mtty-1')).toThrow(code('EBADF'))
  })
})
