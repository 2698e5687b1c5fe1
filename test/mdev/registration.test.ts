/** Registering parents and drivers, in the manner of both texts, and hearing of it. */
import { describe, expect, it } from 'vitest'
import { VfioError } from '../../ts/errors.ts'
import { MttyDevice } from '../../ts/drivers/mtty-device.ts'
import type { LegacyArgument, MdevParentOps } from '../../ts/mdev/legacy-ops.ts'
import type { Mdev, MdevDriver } from '../../ts/mdev/model.ts'
import type { Uevent } from '../../ts/mdev/uevents.ts'
import { IOCTL } from '../../ts/uapi/ioctl.ts'
import { vfioDeviceInfo, vfioIrqInfo, vfioIrqSet, vfioRegionInfo } from '../../ts/uapi/structs.ts'
import { machine, mttyMachine, open, OTHER, UUID } from './machine.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('drivers', () => {
  const driver: MdevDriver = { name: 'shared', probe: () => new MttyDevice(1) }

  it('serves several parents and leaves with the last', async () => {
    using host = machine()
    const one = host.mdev.registerParent('one', { driver, types: [{ name: 'a', instances: 1 }] })
    const two = host.mdev.registerParent('two', { driver, types: [{ name: 'a', instances: 1 }] })
    expect(host.mdev.drivers).toEqual([driver])
    expect(host.mdev.create('shared-a').parent).toBe(one)
    expect(host.mdev.create('shared-a').parent).toBe(two)
    expect(() => host.mdev.create('shared-a')).toThrow(code('EUSERS'))
    await host.mdev.unregisterParent('one')
    expect(host.mdev.drivers).toEqual([driver])
    await host.mdev.unregisterParent(two)
    expect(host.mdev.drivers).toEqual([])
  })

  it('stays where it was registered by itself, and cannot leave a parent alone', async () => {
    using host = machine()
    host.mdev.registerDriver(driver)
    const parent = host.mdev.registerParent('one', { driver, types: [] })
    expect(() => host.mdev.unregisterDriver(driver)).toThrow(code('EBUSY'))
    await parent.unregister()
    expect(host.mdev.drivers).toEqual([driver])
    host.mdev.unregisterDriver(driver)
    host.mdev.unregisterDriver(driver)
    expect(host.sysfs.list('/sys/bus/mdev/drivers')).toEqual([])
  })

  it('refuses names that are taken or are no names', () => {
    using host = mttyMachine()
    const types = [{ name: 'a' }]
    const { probe } = driver
    expect(() => host.mdev.registerParent('mtty', { types, probe, driver: 'x' })).toThrow(code('EEXIST'))
    expect(() => host.mdev.registerParent('p', { types, probe, driver: 'mtty' })).toThrow(code('EBUSY'))
    expect(() => host.mdev.registerParent('p', { types: [...types, ...types], probe })).toThrow(code('EEXIST'))
    for (const name of ['', '.', '..', 'a/b', 'a\0']) {
      expect(() => host.mdev.registerParent(name, { types, probe })).toThrow(code('ERR_INVALID_ARG_VALUE'))
      expect(() => host.mdev.registerParent('p', { types: [{ name }], probe })).toThrow(code('ERR_INVALID_ARG_VALUE'))
    }
    expect(() => host.mdev.registerParent('p', { types })).toThrow(code('ERR_INVALID_ARG_TYPE'))
    expect(() => host.mdev.registerParent('p', { types: 1 as never, probe })).toThrow(code('ERR_INVALID_ARG_TYPE'))
    expect(host.mdev.parents.map((parent) => parent.name)).toEqual(['mtty'])
    expect(host.sysfs.list('/sys/class/mdev_bus')).toEqual(['mtty'])
  })
})

describe('hotplug notification', () => {
  it('tells of every coming and going, in order', async () => {
    using host = machine()
    const heard: string[] = []
    host.mdev.on('uevent', ({ action, devpath, env }: Uevent) => {
      heard.push(
        [
          action,
          devpath.replace('/devices/virtual/p/p', ''),
          ...Object.entries(env).map((pair) => pair.join('=')),
        ].join(' '),
      )
    })
    const parent = host.mdev.registerParent('p', { types: [{ name: 'a' }], probe: () => new MttyDevice(1) })
    const mdev = host.mdev.create('p-a', UUID)
    host.sysfs.write(`${mdev.path}/uevent`, 'change')
    await mdev.remove()
    await parent.unregister()
    expect(heard).toEqual([
      'add ',
      'change  MDEV_STATE=registered',
      `add /${UUID}`,
      `bind /${UUID}`,
      `change /${UUID}`,
      `unbind /${UUID}`,
      `remove /${UUID}`,
      'change  MDEV_STATE=unregistered',
      'remove ',
    ])
  })

  it('comes by action with the device, when the call is over', async () => {
    using host = mttyMachine()
    const added: (Mdev | undefined)[] = []
    host.mdev.on('add', ({ mdev, subsystem }) => subsystem === 'mdev' && added.push(mdev))
    const mdev = host.mdev.create('mtty-1')
    expect(added).toEqual([])
    await Promise.resolve()
    await Promise.resolve()
    expect(added).toEqual([mdev])
  })
})

describe('the older registration', () => {
  it('goes through create, open, access, release and remove', async () => {
    using host = machine()
    const sample = new SampleParent()
    const parent = host.mdev.registerLegacyParent('old', { ops: sample })
    expect(host.sysfs.list('/sys/class/mdev_bus/old/mdev_supported_types/old-a')).toEqual([
      'available_instances',
      'create',
      'device_api',
      'devices',
    ])
    expect(host.sysfs.read('/sys/class/mdev_bus/old/group/about')).toBe('old\n')
    const mdev = host.mdev.create('old-a', UUID)
    expect(parent.types[0]?.available).toBe(1)
    expect(host.sysfs.read(`${mdev.path}/mine`)).toBe(`${UUID}\n`)
    const user = open(mdev)
    expect(user.info()).toEqual({ flags: 2, numRegions: 1, numIrqs: 1 })
    expect(user.regionInfo(0)).toEqual({ flags: 3, size: 16n, offset: 0n })
    expect(() => user.regionInfo(1)).toThrow(code('EINVAL'))
    expect(user.irqInfo(0)).toEqual({ flags: 1, count: 1 })
    expect(user.write(0, 4n, Uint8Array.of(1, 2))).toBe(2)
    const into = new Uint8Array(4)
    expect(user.read(0, 3n, into)).toBe(4)
    expect([...into]).toEqual([0, 1, 2, 0])
    user.reset()
    const signals: bigint[] = []
    user.setIrqs({
      argsz: 24,
      flags: 0x24,
      index: 0,
      start: 0,
      count: 1,
      bools: () => new Uint8Array(),
      eventfds: () => ({ length: 1, fd: () => 7, get: () => ({ signal: (value = 1n) => void signals.push(value) }) }),
    })
    expect(signals).toEqual([1n])
    expect(() => user.mmap(0, 0n, 4096n, { read: true, write: true, shared: true })).toThrow(code('EINVAL'))
    await expect(mdev.remove()).rejects.toThrow(code('EBUSY'))
    user.close()
    await mdev.remove()
    expect(sample.log).toEqual([`create a ${UUID}`, 'open', 'reset', 'release', `remove ${UUID}`])
  })

  it('removes by force with the parent', async () => {
    using host = machine()
    const sample = new SampleParent()
    host.mdev.registerLegacyParent('old', { ops: sample })
    const user = open(host.mdev.create('old-a', UUID))
    const leaving = host.mdev.unregisterParent('old')
    user.close()
    await leaving
    expect(host.mdev.devices).toEqual([])
    expect(sample.log.at(-1)).toBe(`remove ${UUID}`)
  })

  it('refuses a device that its driver has no room for, and callbacks that are missing', () => {
    using host = machine()
    host.mdev.registerLegacyParent('old', { ops: new SampleParent() })
    host.mdev.create('old-a', UUID)
    host.mdev.create('old-a', OTHER)
    expect(() => host.mdev.create('old-a')).toThrow(code('ENOSPC'))
    const bare = { supportedTypeGroups: [], create: () => {}, remove: () => {} }
    for (const missing of ['create', 'remove', 'supportedTypeGroups']) {
      expect(() => host.mdev.registerLegacyParent('x', { ops: { ...bare, [missing]: undefined } as never })).toThrow(
        code('ERR_INVALID_ARG_TYPE'),
      )
    }
    const types = [{ name: 'a', attributes: {} }]
    expect(() => host.mdev.registerLegacyParent('x', { ops: { ...bare, supportedTypeGroups: types } })).toThrow(
      TypeError,
    )
  })

  it('answers EINVAL for callbacks that are left out', () => {
    using host = machine()
    const attributes = { device_api: { show: () => 'x\n' }, available_instances: { show: () => '1\n' } }
    const ops = { supportedTypeGroups: [{ name: 'a', attributes }], create: () => {}, remove: () => {} }
    host.mdev.registerLegacyParent('bare', { ops })
    expect(() => open(host.mdev.create('bare-a'))).toThrow(code('EINVAL'))
    host.mdev.registerLegacyParent('open', { ops: { ...ops, open: () => {} } })
    const user = open(host.mdev.create('open-a'))
    expect(() => user.info()).toThrow(code('EINVAL'))
    expect(() => user.read(0, 0n, new Uint8Array(1))).toThrow(code('EINVAL'))
    expect(() => user.write(0, 0n, new Uint8Array(1))).toThrow(code('EINVAL'))
    expect(() => user.reset()).toThrow(code('EINVAL'))
  })
})

/** A driver as the older text has them: sixteen bytes of memory behind one region, one interrupt. */
class SampleParent implements MdevParentOps {
  readonly log: string[] = []
  #left = 2
  readonly #memory = new Uint8Array(16)
  readonly devAttrGroups = { group: { about: { show: ({ name }: { name: string }) => `${name}\n` } } }
  readonly mdevAttrGroups = { '': { mine: { show: ({ uuid }: Mdev) => `${uuid}\n` } } }
  readonly supportedTypeGroups = [
    {
      name: 'a',
      attributes: { device_api: { show: () => 'vfio-pci\n' }, available_instances: { show: () => `${this.#left}\n` } },
    },
  ]
  #open = 0

  create(type: { name: string }, { uuid }: Mdev): void {
    if (this.#left === 0) throw new VfioError('ENOSPC', 'create')
    this.#left--
    this.log.push(`create ${type.name} ${uuid}`)
  }

  remove({ uuid }: Mdev): void {
    if (this.#open > 0) throw new VfioError('EBUSY', 'remove')
    this.#left++
    this.log.push(`remove ${uuid}`)
  }

  open(): void {
    this.#open++
    this.log.push('open')
  }

  release(): void {
    this.#open--
    this.log.push('release')
  }

  read(_mdev: Mdev, into: Uint8Array, position: bigint): number {
    into.set(this.#memory.subarray(Number(position), Number(position) + into.length))
    return into.length
  }

  write(_mdev: Mdev, from: Uint8Array, position: bigint): number {
    this.#memory.set(from, Number(position))
    return from.length
  }

  ioctl(_mdev: Mdev, request: number, argument: LegacyArgument): number {
    switch (request) {
      case IOCTL.VFIO_DEVICE_GET_INFO:
        argument.write(vfioDeviceInfo.bytes({ argsz: 20, flags: 2, numRegions: 1, numIrqs: 1 }).subarray(0, 16))
        return 0
      case IOCTL.VFIO_DEVICE_GET_REGION_INFO: {
        const { index } = vfioRegionInfo.decode(argument.read(vfioRegionInfo.size))
        if (index > 0) throw new VfioError('EINVAL', 'region')
        argument.write(vfioRegionInfo.bytes({ argsz: 32, flags: 3, size: 16n }))
        return 0
      }
      case IOCTL.VFIO_DEVICE_GET_IRQ_INFO:
        argument.write(vfioIrqInfo.bytes({ argsz: 16, flags: 1, count: 1 }))
        return 0
      case IOCTL.VFIO_DEVICE_SET_IRQS: {
        const { count } = vfioIrqSet.decode(argument.read(vfioIrqSet.size))
        const payload = argument.read(count * 4, vfioIrqSet.size)
        argument.eventfd(new DataView(payload.buffer).getInt32(0, true)).signal()
        return 0
      }
      case IOCTL.VFIO_DEVICE_RESET:
        this.log.push('reset')
        return 0
      default:
        throw new VfioError('ENOTTY', 'ioctl')
    }
  }
}
