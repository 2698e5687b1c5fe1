/** The sysfs tree of mediated devices, and whatever may be written to it. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { mtty } from '../../ts/drivers/mtty.ts'
import { MttyDevice } from '../../ts/drivers/mtty-device.ts'
import type { SysfsTree } from '../../ts/sysfs/tree.ts'
import { outcome } from '../outcome.ts'
import { machine, mttyMachine, TYPES, UUID } from './machine.ts'

const code = (name: string) => expect.objectContaining({ code: name })

describe('the tree', () => {
  it('shows bus, class, parent and types', () => {
    using host = mttyMachine()
    const { sysfs } = host
    expect(sysfs.list('/sys/bus/mdev')).toEqual(['devices', 'drivers', 'drivers_autoprobe', 'drivers_probe', 'uevent'])
    expect(sysfs.list('/sys/bus/mdev/drivers')).toEqual(['mtty'])
    expect(sysfs.readlink('/sys/class/mdev_bus/mtty')).toBe('../../devices/virtual/mtty/mtty')
    expect(sysfs.list('/sys/devices/virtual/mtty/mtty')).toEqual([
      'mdev_supported_types',
      'power',
      'subsystem',
      'uevent',
    ])
    expect(sysfs.list(TYPES)).toEqual(['mtty-1', 'mtty-2'])
    expect(sysfs.list(`${TYPES}/mtty-2`)).toEqual(['available_instances', 'create', 'device_api', 'devices', 'name'])
    expect(sysfs.read(`${TYPES}/mtty-1/name`)).toBe('Single port serial\n')
    expect(sysfs.read(`${TYPES}/mtty-2/name`)).toBe('Dual port serial\n')
    expect(sysfs.read(`${TYPES}/mtty-2/device_api`)).toBe('vfio-pci\n')
    expect(sysfs.stat(`${TYPES}/mtty-2/create`).mode).toBe(0o100200)
    expect(sysfs.stat(`${TYPES}/mtty-2/name`).mode).toBe(0o100444)
    expect(() => sysfs.read(`${TYPES}/mtty-2/create`)).toThrow(code('EACCES'))
    expect(() => sysfs.write(`${TYPES}/mtty-2/name`, 'x')).toThrow(code('EACCES'))
  })

  it('shows a device', () => {
    using host = mttyMachine()
    const { sysfs } = host
    host.mdev.create('mtty-2', UUID)
    const path = `/sys/bus/mdev/devices/${UUID}`
    expect(sysfs.list(path)).toEqual(
      expect.arrayContaining([
        'driver',
        'iommu_group',
        'mdev_type',
        'power',
        'remove',
        'subsystem',
        'uevent',
        'vendor',
      ]),
    )
    expect(sysfs.readlink(`${path}/mdev_type`)).toBe('../mdev_supported_types/mtty-2')
    expect(sysfs.readlink(`${path}/driver`)).toBe('../../../../../bus/mdev/drivers/mtty')
    expect(sysfs.readlink(`${path}/subsystem`)).toBe('../../../../../bus/mdev')
    expect(sysfs.readlink(path)).toBe(`../../../devices/virtual/mtty/mtty/${UUID}`)
    expect(sysfs.stat(`${path}/remove`).mode).toBe(0o100200)
    expect(sysfs.read(`${path}/uevent`)).toBe('DRIVER=mtty\n')
    expect(sysfs.read(`${path}/vendor/sample_mdev_dev`)).toBe(`This is MDEV ${UUID}\n`)
    expect(sysfs.list(`${path}/iommu_group/devices`)).toEqual([UUID])
    expect(sysfs.list('/sys/bus/mdev/drivers/mtty')).toEqual(['bind', UUID, 'module', 'uevent', 'unbind'].sort())
  })

  it('shows the attributes of a parent, and a description where the driver has one', () => {
    using host = machine()
    host.mdev.registerParent('mtty', mtty({ parentAttributes: true }))
    expect(host.sysfs.read('/sys/devices/virtual/mtty/mtty/mtty_dev/sample_mtty_dev')).toBe('This is phy device\n')
    host.mdev.registerParent('p', {
      types: [{ name: 'a' }],
      probe: () => new MttyDevice(1),
      showDescription: (type) => `about ${type.name}\n`,
    })
    expect(host.sysfs.read('/sys/class/mdev_bus/p/mdev_supported_types/p-a/description')).toBe('about a\n')
    expect(host.sysfs.read('/sys/class/mdev_bus/p/mdev_supported_types/p-a/name')).toBe('a\n')
  })

  it('puts the types of an existing device under it', () => {
    using host = machine()
    const device = '/sys/devices/pci0000:00/0000:00:04.0'
    host.sysfs.dir(device)
    const options = { driver: 'gpu', device, types: [{ name: 'a' }], probe: () => new MttyDevice(1) }
    const parent = host.mdev.registerParent('0000:00:04.0', options)
    host.mdev.create('gpu-a', UUID)
    expect(host.sysfs.list(device)).toEqual([UUID, 'mdev_supported_types'])
    expect(() => host.mdev.registerParent('again', { ...options, driver: 'gpu2' })).toThrow(code('EEXIST'))
    expect(() => host.mdev.registerParent('none', { ...options, driver: 'gpu2', device: '/sys/none' })).toThrow(
      code('ENOENT'),
    )
    void parent.unregister()
    expect(host.sysfs.list(device)).toEqual([])
  })

  it('unbinds and does not bind again', () => {
    using host = mttyMachine()
    const mdev = host.mdev.create('mtty-1', UUID)
    const drivers = '/sys/bus/mdev/drivers/mtty'
    expect(() => host.sysfs.write(`${drivers}/unbind`, 'nothing')).toThrow(code('ENODEV'))
    host.sysfs.write(`${drivers}/unbind`, UUID)
    expect(mdev).toMatchObject({ state: 'active', group: undefined, ops: undefined })
    expect(host.sysfs.exists(`${mdev.path}/driver`)).toBe(false)
    expect(host.sysfs.exists(`${mdev.path}/vendor`)).toBe(false)
    expect(host.sysfs.read(`${mdev.path}/uevent`)).toBe('')
    expect(() => host.sysfs.write(`${drivers}/unbind`, UUID)).toThrow(code('ENODEV'))
    expect(() => host.sysfs.write(`${drivers}/bind`, UUID)).toThrow(code('ENODEV'))
    expect(host.sysfs.write('/sys/bus/mdev/drivers_probe', UUID)).toBe(36)
    expect(() => host.sysfs.write('/sys/bus/mdev/drivers_probe', 'x')).toThrow(code('ENODEV'))
    void mdev.remove()
    expect(host.mdev.devices).toEqual([])
  })
})

describe('any text into any attribute', () => {
  it('is taken or refused with an errno, and the tree stays whole', () => {
    const words = fc.constantFrom(
      '0',
      '1',
      '1\n',
      'add',
      'remove',
      'auto',
      'on',
      UUID,
      `${UUID}\n`,
      '',
      '\0',
      'é'.repeat(18),
    )
    const input = fc.oneof(words, fc.string({ unit: 'binary', maxLength: 64 }), fc.uint8Array({ maxLength: 64 }))
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(), input), { minLength: 1, maxLength: 12 }), (writes) => {
        using host = mttyMachine()
        host.mdev.create('mtty-1')
        for (const [pick, data] of writes) {
          const paths = attributesUnder(host.sysfs, '/sys')
          const path = paths[pick % paths.length] ?? ''
          outcome(() => host.sysfs.write(path, data))
          outcome(() => host.sysfs.read(path))
        }
        const shown = host.sysfs.list('/sys/bus/mdev/devices')
        expect(host.mdev.devices.map((mdev) => mdev.uuid)).toEqual(shown)
        const ports = host.mdev.devices.reduce((sum, mdev) => sum + Number(mdev.type.name), 0)
        expect(host.parent.type('mtty-1')?.available).toBe(24 - ports)
      }),
      { numRuns: 200 },
    )
  })
})

function attributesUnder(sysfs: SysfsTree, path: string): string[] {
  return sysfs.list(path).flatMap((name) => {
    const at = `${path}/${name}`
    const { kind } = sysfs.node(at)
    return kind === 'directory' ? attributesUnder(sysfs, at) : kind === 'attribute' ? [at] : []
  })
}
