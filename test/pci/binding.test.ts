import { describe, expect, it } from 'vitest'
import type { VfioError } from '../../ts/errors.ts'
import { InertFunction } from '../../ts/pci/inert-function.ts'
import type { PciDevice } from '../../ts/pci/device.ts'
import { documentMachine, emptyMachine, q35 } from './machines.ts'

const DRIVERS = '/sys/bus/pci/drivers'
const DEVICES = '/sys/bus/pci/devices'
const errno = (code: string) => expect.objectContaining({ code })

/** A machine with one function `0000:00:02.0` of 1234:0001 and a driver `stub` that knows no ids. */
function machineWithDriver() {
  const machine = emptyMachine()
  const probed: string[] = []
  machine.pci.addDriver({
    name: 'stub',
    managesDma: true,
    ids: [{ vendor: 0xffff_ffff, device: 0xffff_ffff, overrideOnly: true }],
    probe: (device) => void probed.push(device.name),
  })
  machine.pci.add('0000:00:02.0', new InertFunction({ id: '1234:0001', classCode: 0x020000 }))
  return { ...machine, probed }
}

describe('unbind and bind', () => {
  it('takes a function from its driver and gives it back', () => {
    const { sysfs, pci } = documentMachine()
    const name = '0000:06:0d.0'
    expect(sysfs.readlink(`${DEVICES}/${name}/driver`)).toBe('../../../../bus/pci/drivers/snd_emu10k1')
    expect(sysfs.readlink(`${DRIVERS}/snd_emu10k1/${name}`)).toBe(
      '../../../../devices/pci0000:00/0000:00:1e.0/0000:06:0d.0',
    )
    expect(sysfs.write(`${DEVICES}/${name}/driver/unbind`, `${name}\n`)).toBe(13)
    expect(sysfs.exists(`${DEVICES}/${name}/driver`)).toBe(false)
    expect(pci.device(name)?.driver).toBeUndefined()
    expect(sysfs.write(`${DRIVERS}/snd_emu10k1/bind`, name)).toBe(12)
    expect(pci.device(name)?.driver).toBe('snd_emu10k1')
  })

  it('refuses what is not there, not matched, or bound', () => {
    const { sysfs } = documentMachine()
    const write = (path: string, text: string) => () => sysfs.write(`${DRIVERS}/${path}`, text)
    expect(write('pci-stub/unbind', '0000:06:0d.0')).toThrow(errno('ENODEV'))
    expect(write('pci-stub/unbind', 'nonsense')).toThrow(errno('ENODEV'))
    expect(write('pci-stub/bind', '0000:06:0d.0')).toThrow(errno('ENODEV'))
    expect(write('snd_emu10k1/bind', '0000:06:0d.0')).toThrow(errno('EBUSY'))
    expect(write('snd_emu10k1/bind', '0000:06:0d.0\n\n')).toThrow(errno('ENODEV'))
    expect(write('pcieport/bind', '0000:00:1e.0')).toThrow(errno('ENODEV'))
  })

  it('says what to do', () => {
    const { sysfs } = documentMachine()
    const thrown = (() => {
      try {
        sysfs.write(`${DRIVERS}/snd_emu10k1/bind`, '0000:06:0d.0')
      } catch (error) {
        return error as VfioError
      }
      return undefined
    })()
    expect(thrown?.remedy).toContain('driver/unbind')
  })

  it('binds ports to pcieport', () => {
    const { pci } = q35()
    expect(pci.device('0000:00:08.0')?.driver).toBe('pcieport')
    expect(pci.device('0000:03:00.0')?.driver).toBeUndefined()
  })
})

describe('new_id', () => {
  it('binds the functions that match and have no driver', () => {
    const { sysfs, pci, probed } = machineWithDriver()
    pci.add('0000:00:03.0', new InertFunction({ id: '1234:0001' }), { driver: 'host' })
    expect(sysfs.write(`${DRIVERS}/stub/new_id`, '1234 0001\n')).toBe(10)
    expect(probed).toEqual(['0000:00:02.0'])
    expect(pci.device('0000:00:03.0')?.driver).toBe('host')
  })

  it('binds functions that come later', () => {
    const { sysfs, pci, probed } = machineWithDriver()
    sysfs.write(`${DRIVERS}/stub/new_id`, '4321 1')
    pci.add('0000:00:04.0', new InertFunction({ id: '4321:0001' }))
    expect(probed).toEqual(['0000:00:04.0'])
  })

  it.each([
    [' ', 'EINVAL'],
    ['1234', 'EINVAL'],
    ['zz 0001', 'EINVAL'],
    ['1234,0001', 'EINVAL'],
    ['1234 0001 0 0 0 0 1', 'EINVAL'],
  ])('refuses %j with %s', (text, code) => {
    const { sysfs, probed } = machineWithDriver()
    expect(() => sysfs.write(`${DRIVERS}/stub/new_id`, text)).toThrow(errno(code))
    expect(probed).toEqual([])
  })

  it.each([
    '0x1234 0X0001',
    ' \t1234\n1 rest',
    '1234 1 ffffffff ffffffff',
    '1234 1 0 0',
    '1234 1 0 0 20000 ff0000',
    '1234 1 0 0 0 0 0',
  ])('takes %j', (text) => {
    const { sysfs, probed } = machineWithDriver()
    sysfs.write(`${DRIVERS}/stub/new_id`, text)
    expect(probed).toEqual(['0000:00:02.0'])
  })

  it('looks at subsystem and class', () => {
    const { sysfs, probed } = machineWithDriver()
    sysfs.write(`${DRIVERS}/stub/new_id`, '1234 1 1af4 1100')
    sysfs.write(`${DRIVERS}/stub/new_id`, '1234 1 ffffffff ffffffff 10000 ff0000')
    expect(probed).toEqual([])
  })

  it('knows an id once', () => {
    const { sysfs } = machineWithDriver()
    sysfs.write(`${DRIVERS}/stub/new_id`, '1234 0001')
    expect(() => sysfs.write(`${DRIVERS}/stub/new_id`, '1234 0001')).toThrow(errno('EEXIST'))
    expect(() => sysfs.write(`${DRIVERS}/stub/remove_id`, '1234 0002')).toThrow(errno('ENODEV'))
    expect(() => sysfs.write(`${DRIVERS}/stub/remove_id`, '1234')).toThrow(errno('EINVAL'))
    expect(sysfs.write(`${DRIVERS}/stub/remove_id`, '1234 0001')).toBe(9)
    expect(sysfs.write(`${DRIVERS}/stub/new_id`, '1234 0001')).toBe(9)
  })
})

describe('driver_override', () => {
  it('gives a function to one driver only', () => {
    const { sysfs, pci, probed } = machineWithDriver()
    const device = `${DEVICES}/0000:00:02.0`
    expect(sysfs.read(`${device}/driver_override`)).toBe('(null)\n')
    sysfs.write(`${device}/driver_override`, 'stub\n')
    expect(sysfs.read(`${device}/driver_override`)).toBe('stub\n')
    expect(sysfs.write('/sys/bus/pci/drivers_probe', '0000:00:02.0')).toBe(12)
    expect(probed).toEqual(['0000:00:02.0'])
    sysfs.write(`${device}/driver_override`, '\n')
    expect(sysfs.read(`${device}/driver_override`)).toBe('(null)\n')
    expect(pci.device('0000:00:02.0')?.driver).toBe('stub')
    expect(() => sysfs.write(`${device}/driver_override`, 'x'.repeat(5000))).toThrow(errno('EINVAL'))
  })

  it('probes nothing for a device that is not there', () => {
    const { sysfs } = machineWithDriver()
    expect(() => sysfs.write('/sys/bus/pci/drivers_probe', '0000:00:1f.7')).toThrow(errno('ENODEV'))
  })

  it('leaves new functions alone when autoprobing is off', () => {
    const { sysfs, pci } = emptyMachine()
    sysfs.write('/sys/bus/pci/drivers_autoprobe', '0')
    const port = pci.addBridge('0000:00:01.0', { kind: 'root-port' })
    expect(sysfs.read('/sys/bus/pci/drivers_autoprobe')).toBe('0\n')
    expect(port.driver).toBeUndefined()
    sysfs.write('/sys/bus/pci/drivers_probe', port.name)
    expect(port.driver).toBe('pcieport')
  })
})

describe('DMA ownership', () => {
  it('is with host drivers, each of them', () => {
    const { pci } = documentMachine()
    const group = pci.device('0000:06:0d.0')?.group
    expect(group?.dmaOwnerClaimed).toBe(true)
    pci.unbind('0000:06:0d.0')
    expect(group?.dmaOwnerClaimed).toBe(true)
    expect(() => group?.claimDmaOwner({})).toThrow(
      expect.objectContaining({ code: 'EPERM', message: expect.stringContaining('emu10k1-gp') }),
    )
    pci.unbind('0000:06:0d.1')
    expect(group?.dmaOwnerClaimed).toBe(false)
  })

  it('keeps host drivers away while user space has it', () => {
    const { pci, sysfs } = documentMachine()
    pci.unbind('0000:06:0d.0')
    pci.unbind('0000:06:0d.1')
    const group = pci.device('0000:06:0d.0')?.group
    group?.claimDmaOwner({})
    expect(() => sysfs.write(`${DRIVERS}/snd_emu10k1/bind`, '0000:06:0d.0')).toThrow(errno('EBUSY'))
    pci.bind('0000:06:0d.0', 'pci-stub')
    expect(pci.device('0000:06:0d.0')?.driver).toBe('pci-stub')
    group?.releaseDmaOwner()
    pci.bind('0000:06:0d.0', 'snd_emu10k1')
    expect(pci.device('0000:06:0d.0')?.driver).toBe('snd_emu10k1')
  })
})

describe('a driver that lets go later', () => {
  function slowMachine() {
    const machine = emptyMachine()
    const waiting: (() => void)[] = []
    machine.pci.addDriver({
      name: 'slow',
      managesDma: true,
      remove: (_device: PciDevice, done) => void waiting.push(done),
    })
    machine.pci.add('0000:00:02.0', new InertFunction(), { driver: 'slow' })
    return { ...machine, letGo: () => waiting.splice(0).forEach((done) => done()) }
  }

  it('counts as bound until then', () => {
    const { sysfs, pci, letGo } = slowMachine()
    expect(sysfs.write(`${DRIVERS}/slow/unbind`, '0000:00:02.0')).toBe(12)
    expect(pci.device('0000:00:02.0')?.driver).toBe('slow')
    expect(() => sysfs.write(`${DRIVERS}/slow/bind`, '0000:00:02.0')).toThrow(errno('EBUSY'))
    expect(sysfs.write(`${DRIVERS}/slow/unbind`, '0000:00:02.0')).toBe(12)
    letGo()
    expect(pci.device('0000:00:02.0')?.driver).toBeUndefined()
    expect(sysfs.write(`${DRIVERS}/slow/bind`, '0000:00:02.0')).toBe(12)
  })

  it('holds back the removal of the function', () => {
    const { sysfs, pci, letGo } = slowMachine()
    expect(pci.remove('0000:00:02.0')).toBe(false)
    expect(sysfs.exists(`${DEVICES}/0000:00:02.0`)).toBe(true)
    expect(() => pci.add('0000:00:02.0', new InertFunction())).toThrow(errno('EEXIST'))
    letGo()
    expect(sysfs.exists(`${DEVICES}/0000:00:02.0`)).toBe(false)
    pci.add('0000:00:02.0', new InertFunction())
  })
})
