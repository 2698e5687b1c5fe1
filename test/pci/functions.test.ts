import { describe, expect, it } from 'vitest'
import { InertFunction } from '../../ts/pci/inert-function.ts'
import { documentMachine, emptyMachine, membersOf, q35 } from './machines.ts'

const DEVICES = '/sys/bus/pci/devices'
const errno = (code: string) => expect.objectContaining({ code })

describe('attributes of a function', () => {
  it('tell what it is', () => {
    const { sysfs } = documentMachine()
    const read = (name: string) => sysfs.read(`${DEVICES}/0000:06:0d.0/${name}`)
    expect(read('vendor')).toBe('0x1102\n')
    expect(read('device')).toBe('0x0002\n')
    expect(read('class')).toBe('0x040100\n')
    expect(read('revision')).toBe('0x08\n')
    expect(read('modalias')).toBe('pci:v00001102d00000002sv00000000sd00000000bc04sc01i00\n')
    expect(read('uevent')).toContain('DRIVER=snd_emu10k1\n')
    expect(read('irq')).toBe('0\n')
  })

  it('show configuration space and resources', () => {
    const { sysfs } = q35()
    const edu = `${DEVICES}/0000:00:04.0`
    expect([...sysfs.readBytes(`${edu}/config`, 0, 4)]).toEqual([0x34, 0x12, 0xe8, 0x11])
    expect(sysfs.stat(`${edu}/config`).size).toBe(256)
    expect(sysfs.stat(`${DEVICES}/0000:01:00.0/config`).size).toBe(4096)
    expect(sysfs.readBytes(`${edu}/config`, 250, 4096)).toHaveLength(6)
    expect(sysfs.read(`${edu}/resource`).split('\n')[0]).toBe(
      '0x00000000fe800000 0x00000000fe8fffff 0x0000000000040200',
    )
    expect(sysfs.stat(`${edu}/resource0`)).toEqual({ mode: 0o100600, size: 1 << 20 })
    sysfs.write(`${edu}/config`, Uint8Array.of(0x07), 0x3c)
    expect(sysfs.read(`${edu}/irq`)).toBe('7\n')
  })

  it('enable counts', () => {
    const { sysfs } = q35()
    const edu = `${DEVICES}/0000:00:04.0`
    expect(() => sysfs.write(`${edu}/enable`, '0')).toThrow(errno('EIO'))
    sysfs.write(`${edu}/enable`, '1')
    expect(sysfs.read(`${edu}/enable`)).toBe('1\n')
    expect(() => sysfs.write(`${DEVICES}/0000:04:02.0/enable`, '1')).toThrow(errno('EBUSY'))
    expect(() => sysfs.write(`${edu}/enable`, 'yes')).toThrow(errno('EINVAL'))
  })
})

describe('plugging', () => {
  it('removes through sysfs and finds again by a rescan', () => {
    const machine = q35()
    const { sysfs } = machine
    const before = membersOf(machine)
    sysfs.write(`${DEVICES}/0000:03:00.0/remove`, '1')
    expect(sysfs.exists(`${DEVICES}/0000:04:01.0`)).toBe(false)
    expect(membersOf(machine)).not.toHaveProperty('11')
    sysfs.write('/sys/bus/pci/rescan', '0')
    expect(sysfs.exists(`${DEVICES}/0000:03:00.0`)).toBe(false)
    sysfs.write('/sys/bus/pci/rescan', '1')
    expect(membersOf(machine)).toEqual(before)
    expect(sysfs.readlink(`${DEVICES}/0000:04:02.0/driver`)).toContain('virtio-pci')
  })

  it('pulls a bridge with everything behind it', () => {
    const { pci, groups, sysfs } = documentMachine()
    expect(pci.remove('0000:00:1e.0')).toBe(true)
    expect(pci.devices).toEqual([])
    expect(groups.list()).toEqual([])
    expect(sysfs.list('/sys/devices/pci0000:00')).toEqual([])
    expect(sysfs.list('/sys/bus/pci/drivers/snd_emu10k1')).not.toContain('0000:06:0d.0')
    expect(() => pci.remove('0000:00:1e.0')).toThrow(errno('ENODEV'))
  })

  it('refuses slots that are taken and buses that are not there', () => {
    const { pci } = emptyMachine()
    pci.add('0000:00:02.0', new InertFunction())
    expect(() => pci.add('0000:00:02.0', new InertFunction())).toThrow(errno('EEXIST'))
    expect(() => pci.add('0000:05:00.0', new InertFunction())).toThrow(errno('ENODEV'))
    const port = pci.addBridge('0000:00:03.0', { kind: 'root-port', secondaryBus: 5 })
    expect(() => pci.add('0000:06:00.0', new InertFunction(), { behind: port })).toThrow(errno('EINVAL'))
    expect(() => pci.addBridge('0000:00:04.0', { kind: 'root-port', secondaryBus: 5 })).toThrow(errno('EEXIST'))
    pci.add('0000:05:00.0', new InertFunction(), { behind: '0000:00:03.0' })
    pci.add('0001:00:00.0', new InertFunction())
    expect(pci.devices.map((device) => device.path)).toEqual([
      '/sys/devices/pci0000:00/0000:00:02.0',
      '/sys/devices/pci0000:00/0000:00:03.0',
      '/sys/devices/pci0000:00/0000:00:03.0/0000:05:00.0',
      '/sys/devices/pci0001:00/0001:00:00.0',
    ])
  })

  it.each(['', '0000:00:20.0', '0000:00:00.8', '00:00.0', '0000:00:00.0 ', 7, undefined])(
    'takes no address %j',
    (address) => {
      const { pci } = emptyMachine()
      expect(() => pci.add(address as string, new InertFunction())).toThrow(TypeError)
    },
  )

  it('checks descriptions', () => {
    const { pci } = emptyMachine()
    expect(() => new InertFunction({ id: '1234' })).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_VALUE' }))
    expect(() => new InertFunction({ classCode: 0x1000000 })).toThrow(RangeError)
    expect(() => pci.addBridge('0000:00:01.0', { kind: 'toString' as never })).toThrow(TypeError)
    expect(() => pci.add('0000:00:01.0', {} as never)).toThrow(TypeError)
    expect(pci.devices).toEqual([])
  })

  it('leaves nothing behind when a driver refuses', () => {
    const { pci, groups } = emptyMachine()
    expect(() => pci.add('0000:00:01.0', new InertFunction(), { driver: 'pcieport' })).toThrow(errno('ENODEV'))
    expect(pci.devices).toEqual([])
    expect(groups.list()).toEqual([])
  })
})
