import { describe, expect, it } from 'vitest'
import { InertFunction } from '../../ts/pci/inert-function.ts'
import { documentMachine, emptyMachine, membersOf, q35 } from './machines.ts'

const endpoint = (multifunction = false) => new InertFunction({ express: 'endpoint', multifunction })

describe('IOMMU groups', () => {
  it('numbers the groups of a q35 machine in the order of enumeration', () => {
    expect(membersOf(q35())).toEqual({
      0: ['0000:00:00.0'],
      1: ['0000:00:01.0'],
      2: ['0000:00:04.0'],
      3: ['0000:00:05.0'],
      4: ['0000:00:06.0', '0000:00:06.1'],
      5: ['0000:00:08.0'],
      6: ['0000:00:09.0'],
      7: ['0000:00:0a.0'],
      8: ['0000:00:1f.0', '0000:00:1f.2', '0000:00:1f.3'],
      9: ['0000:01:00.0'],
      10: ['0000:02:00.0'],
      11: ['0000:03:00.0', '0000:04:01.0', '0000:04:02.0'],
    })
  })

  it('puts a conventional bridge and what is behind it into one group', () => {
    expect(membersOf(documentMachine())).toEqual({ 26: ['0000:00:1e.0', '0000:06:0d.0', '0000:06:0d.1'] })
  })

  it('does the same behind a PCIe-to-PCI bridge', () => {
    const machine = emptyMachine()
    const bridge = machine.pci.addBridge('0000:00:1e.0', { kind: 'pcie-to-pci' })
    machine.pci.add('0000:06:0d.0', new InertFunction(), { behind: bridge })
    expect(machine.pci.device('0000:06:0d.0')?.group).toBe(bridge.group)
  })

  it('puts what is behind a root port without ACS into the port’s group', () => {
    const machine = emptyMachine()
    machine.pci.addBridge('0000:00:01.0', { kind: 'root-port', secondaryBus: 1, acs: false })
    machine.pci.add('0000:01:00.0', endpoint())
    expect(membersOf(machine)).toEqual({ 0: ['0000:00:01.0', '0000:01:00.0'] })
  })

  it('isolates what is behind a switch whose downstream ports have ACS', () => {
    const machine = emptyMachine()
    machine.pci.addBridge('0000:00:01.0', { kind: 'root-port', secondaryBus: 1 })
    machine.pci.addBridge('0000:01:00.0', { kind: 'upstream-port', secondaryBus: 2 })
    machine.pci.addBridge('0000:02:00.0', { kind: 'downstream-port', secondaryBus: 3 })
    machine.pci.addBridge('0000:02:01.0', { kind: 'downstream-port', secondaryBus: 4 })
    machine.pci.add('0000:03:00.0', endpoint())
    machine.pci.add('0000:04:00.0', endpoint())
    expect(machine.groups.list()).toHaveLength(6)
  })

  it('joins everything below a switch whose downstream ports lack ACS', () => {
    const machine = emptyMachine()
    machine.pci.addBridge('0000:00:01.0', { kind: 'root-port', secondaryBus: 1 })
    machine.pci.addBridge('0000:01:00.0', { kind: 'upstream-port', secondaryBus: 2 })
    machine.pci.addBridge('0000:02:00.0', { kind: 'downstream-port', secondaryBus: 3, acs: false })
    machine.pci.addBridge('0000:02:01.0', { kind: 'downstream-port', secondaryBus: 4, acs: false })
    machine.pci.add('0000:03:00.0', endpoint())
    machine.pci.add('0000:04:00.0', endpoint())
    const { pci } = machine
    expect(pci.device('0000:03:00.0')?.group).toBe(pci.device('0000:02:00.0')?.group)
    expect(pci.device('0000:04:00.0')?.group).toBe(pci.device('0000:02:01.0')?.group)
  })

  it('joins the functions of a slot, unless they are known to be kept apart', () => {
    const joined = emptyMachine()
    joined.pci.add('0000:00:02.0', endpoint(true))
    joined.pci.add('0000:00:02.1', endpoint())
    expect(membersOf(joined)).toEqual({ 0: ['0000:00:02.0', '0000:00:02.1'] })

    const apart = emptyMachine()
    apart.pci.add('0000:00:02.0', endpoint(true), { quirks: { acs: true } })
    apart.pci.add('0000:00:02.1', endpoint(), { quirks: { acs: true } })
    expect(membersOf(apart)).toEqual({ 0: ['0000:00:02.0'], 1: ['0000:00:02.1'] })
  })

  it('frees the number of a group whose last function has gone', () => {
    const machine = emptyMachine()
    machine.pci.add('0000:00:02.0', new InertFunction())
    machine.pci.add('0000:00:03.0', new InertFunction())
    machine.pci.remove('0000:00:02.0')
    expect(machine.sysfs.exists('/sys/kernel/iommu_groups/0')).toBe(false)
    machine.pci.add('0000:00:04.0', new InertFunction())
    expect(membersOf(machine)).toEqual({ 0: ['0000:00:04.0'], 1: ['0000:00:03.0'] })
  })

  it('makes no groups on a machine without an IOMMU', () => {
    const machine = emptyMachine(0, false)
    const device = machine.pci.add('0000:00:02.0', new InertFunction())
    expect(device.group).toBeUndefined()
    expect(machine.sysfs.exists(`${device.path}/iommu_group`)).toBe(false)
  })
})

describe('sysfs of groups', () => {
  it('shows type, reserved regions and devices', () => {
    const { sysfs } = q35()
    const group = '/sys/bus/pci/devices/0000:00:04.0/iommu_group'
    expect(sysfs.list(group)).toEqual(['devices', 'reserved_regions', 'type'])
    expect(sysfs.list(`${group}/devices`)).toEqual(['0000:00:04.0'])
    expect(sysfs.read(`${group}/type`)).toBe('DMA\n')
    expect(sysfs.read(`${group}/reserved_regions`)).toBe('0x00000000fee00000 0x00000000feefffff msi\n')
  })

  it('links as the VFIO document shows it', () => {
    const { sysfs } = documentMachine()
    expect(sysfs.readlink('/sys/bus/pci/devices/0000:06:0d.0/iommu_group')).toBe('../../../../kernel/iommu_groups/26')
    const devices = '/sys/bus/pci/devices/0000:06:0d.0/iommu_group/devices'
    expect(Object.fromEntries(sysfs.list(devices).map((name) => [name, sysfs.readlink(`${devices}/${name}`)]))).toEqual(
      {
        '0000:00:1e.0': '../../../../devices/pci0000:00/0000:00:1e.0',
        '0000:06:0d.0': '../../../../devices/pci0000:00/0000:00:1e.0/0000:06:0d.0',
        '0000:06:0d.1': '../../../../devices/pci0000:00/0000:00:1e.0/0000:06:0d.1',
      },
    )
  })

  it('changes the type of a group that nobody uses', () => {
    const { sysfs } = q35()
    sysfs.write('/sys/kernel/iommu_groups/2/type', 'identity')
    expect(sysfs.read('/sys/kernel/iommu_groups/2/type')).toBe('identity\n')
    expect(() => sysfs.write('/sys/kernel/iommu_groups/2/type', 'bogus')).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
    expect(() => sysfs.write('/sys/kernel/iommu_groups/11/type', 'identity')).toThrow(
      expect.objectContaining({ code: 'EPERM' }),
    )
  })
})
