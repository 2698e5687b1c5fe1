import { describe, expect, it } from 'vitest'
import { CONFIG } from '../../ts/pci/config-layout.ts'
import { InertFunction } from '../../ts/pci/inert-function.ts'
import { barAddress } from '../../ts/pci/resources.ts'
import { emptyMachine, type Machine, q35 } from './machines.ts'

function addresses({ pci }: Machine, name: string): string[] {
  const device = pci.device(name)
  return device?.bars.map((bar) => `0x${barAddress(device.hardware, bar).toString(16)}`) ?? []
}

describe('power-on', () => {
  it('lays BARs out as the firmware of a q35 machine does', () => {
    const machine = q35()
    expect(addresses(machine, '0000:00:04.0')).toEqual(['0xfe800000'])
    expect(addresses(machine, '0000:00:05.0')).toEqual(['0xfeb01000', '0xe000', '0xc060000000'])
    expect(addresses(machine, '0000:01:00.0')).toEqual(['0xfe600000'])
    expect(addresses(machine, '0000:02:00.0')).toEqual(['0xfe400000', '0xfe420000', '0xd000', '0xfe440000'])
  })

  it('lets functions decode and gives interrupt pins their lines', () => {
    const { pci } = q35()
    const edu = pci.device('0000:00:04.0')
    expect(edu?.hardware.configRead(CONFIG.command, 2)).toBe(0x103)
    expect(edu?.hardware.configRead(CONFIG.interruptLine, 1)).toBe(10)
    expect(pci.device('0000:00:05.0')?.hardware.configRead(CONFIG.interruptLine, 1)).toBe(0)
    expect(pci.device('0000:01:00.0')?.hardware.configRead(CONFIG.interruptLine, 1)).toBe(10)
    expect(pci.device('0000:02:00.0')?.hardware.configRead(CONFIG.interruptLine, 1)).toBe(10)
  })

  it('gives bridges windows around what is behind them', () => {
    const { pci } = q35()
    const port = pci.device('0000:00:09.0')?.hardware
    expect(port?.configRead(CONFIG.memoryBase, 2)).toBe(0xfe40)
    expect(port?.configRead(CONFIG.memoryLimit, 2)).toBe(0xfe50)
    expect(port?.configRead(CONFIG.secondaryBus, 1)).toBe(2)
  })
})

describe('hot plug', () => {
  it('gives each function addresses of its own', () => {
    const machine = emptyMachine()
    const make = () =>
      new InertFunction({
        bars: [
          { index: 0, size: 1 << 20, kind: 'memory32' },
          { index: 1, size: 32, kind: 'io' },
          { index: 2, size: 1 << 32, kind: 'memory64', prefetchable: true },
        ],
      })
    for (let slot = 1; slot < 9; slot++) machine.pci.add(`0000:00:0${slot}.0`, make())
    const all = machine.pci.devices.flatMap((device) => addresses(machine, device.name))
    expect(new Set(all).size).toBe(24)
    machine.pci.remove('0000:00:01.0')
    machine.pci.add('0000:00:0f.0', make())
    expect(addresses(machine, '0000:00:0f.0')).toEqual(['0xe0000000', '0x1000', '0xc000000000'])
  })
})
