import { describe, expect, it } from 'vitest'
import { Container } from '../../ts/container/container.ts'
import { VfioDevice } from '../../ts/device/vfio-device.ts'
import { VfioError } from '../../ts/errors.ts'
import { GroupExplanation } from '../../ts/group/group-explanation.ts'
import { Group } from '../../ts/group/group.ts'
import { deviceOps, errnoOf, TestMachine } from '../parts/machine.ts'

const EDU = '0000:00:04.0'

function ready(ops: Parameters<typeof deviceOps>[0] = {}) {
  const machine = new TestMachine()
  const { device, group: vfioGroup, iommuGroup } = machine.plain(EDU, ops)
  const container = new Container(machine.container(), machine.process)
  const group = new Group(vfioGroup, machine.process)
  group.setContainer(container)
  container.setIommu(3)
  return { machine, device, vfioGroup, iommuGroup, container, group }
}

describe('a group', () => {
  it('is open once', () => {
    const machine = new TestMachine()
    const { group: vfioGroup } = machine.plain()
    const group = new Group(vfioGroup, machine.process)
    expect(errnoOf(() => new Group(vfioGroup, machine.process))).toBe('EBUSY')
    group.close()
    group.close()
    using again = new Group(vfioGroup, machine.process)
    expect(again.status()).toEqual({ viable: true, containerSet: false })
    expect(errnoOf(() => group.status())).toBe('EBADF')
  })

  it('is not viable while a host driver uses the DMA of a sibling', () => {
    const machine = new TestMachine()
    const iommuGroup = machine.group('0000:04:01.0', machine.member('0000:04:02.0', 'virtio-pci'))
    iommuGroup.useDefaultDomain()
    machine.device('0000:04:01.0', iommuGroup)
    const vfioGroup = machine.registry.group(iommuGroup.number)
    if (vfioGroup === undefined) throw new Error('no group')
    const group = new Group(vfioGroup, machine.process)
    const container = new Container(machine.container(), machine.process)
    expect(group.status()).toEqual({ viable: false, containerSet: false })
    expect(errnoOf(() => group.setContainer(container))).toBe('EPERM')
    expect(errnoOf(() => container.setIommu(3))).toBe('EINVAL')
    expect(errnoOf(() => group.getDevice('0000:04:01.0'))).toBe('EINVAL')

    const explained = group.explain()
    expect(explained.blockers.map((member) => member.name)).toEqual(['0000:04:02.0'])
    expect(explained.blockers[0]?.remedy).toEqual([
      'echo 0000:04:02.0 > /sys/bus/pci/devices/0000:04:02.0/driver/unbind',
    ])
    expect(String(explained)).toMatch(/not viable[\s\S]*0000:04:02.0 +bound to virtio-pci/)

    iommuGroup.unuseDefaultDomain()
    group.setContainer(container)
    expect(group.status()).toEqual({ viable: true, containerSet: true })
  })

  it('can be explained before any VFIO driver holds a device', () => {
    const machine = new TestMachine()
    const group = machine.group(machine.member('0000:06:0d.0', 'snd_emu'), machine.member('0000:06:0d.1', undefined))
    const explained = new GroupExplanation(group, false, () => false)
    expect(explained.members.map((member) => member.state)).toEqual(['host', 'free'])
  })

  it('takes one container at a time', () => {
    const { machine, container, group } = ready()
    expect(errnoOf(() => group.setContainer(container))).toBe('EINVAL')
    expect(errnoOf(() => group.setContainer(new Container(machine.container(), machine.process)))).toBe('EINVAL')
    group.unsetContainer()
    expect(errnoOf(() => group.unsetContainer())).toBe('EINVAL')
  })

  it('takes nothing that is no container', () => {
    const { group } = ready()
    expect(() => group.setContainer({} as never)).toThrow(TypeError)
    group.unsetContainer()
    expect(errnoOf(() => group.session.setContainer(new TestMachine().process, undefined))).toBe('EBADFD')
  })

  it('gives devices by name, when it has a container with an IOMMU', () => {
    const machine = new TestMachine()
    const group = new Group(machine.plain(EDU).group, machine.process)
    expect(errnoOf(() => group.getDevice('bogus'))).toBe('ENODEV')
    expect(errnoOf(() => group.getDevice(EDU))).toBe('EINVAL')
    const container = new Container(machine.container(), machine.process)
    group.setContainer(container)
    expect(errnoOf(() => group.getDevice(EDU))).toBe('EINVAL')
    container.setIommu(3)
    for (const wrong of ['', 'bogus', `${EDU}\n`, `${EDU} `])
      expect(errnoOf(() => group.getDevice(wrong))).toBe('ENODEV')
    using device = group.getDevice(EDU)
    expect(device.name).toBe(EDU)
    expect(() => group.getDevice(5 as never)).toThrow(TypeError)
  })

  it('lets a driver match names its own way', () => {
    const { group } = ready({
      match: (name) => {
        if (name.endsWith('!')) throw new VfioError('EINVAL', 'VFIO_GROUP_GET_DEVICE_FD')
        return name === 'alias'
      },
    })
    expect(errnoOf(() => group.getDevice(EDU))).toBe('ENODEV')
    expect(errnoOf(() => group.getDevice('alias!'))).toBe('EINVAL')
    using device = group.getDevice('alias')
    expect(device.name).toBe(EDU)
  })

  it('keeps its container while a device is open, however handles are closed', () => {
    const { machine, group, container, vfioGroup } = ready()
    const device = group.getDevice(EDU)
    expect(errnoOf(() => group.unsetContainer())).toBe('EBUSY')
    group.close()
    container.close()
    expect(errnoOf(() => new Group(vfioGroup, machine.process))).toBe('EBUSY')
    expect(machine.driver.diary).not.toContain('release')
    device.close()
    device.close()
    expect(machine.driver.diary.slice(-3)).toEqual([`close ${EDU}`, 'detach 0', 'release'])
    using again = new Group(vfioGroup, machine.process)
    expect(again.status().containerSet).toBe(false)
  })

  it('opens a device twice and attaches it once', () => {
    const { machine, group } = ready()
    const first = group.getDevice(EDU)
    const second = group.getDevice(EDU)
    first.close()
    expect(second.info().numRegions).toBe(1)
    expect(errnoOf(() => group.unsetContainer())).toBe('EBUSY')
    second.close()
    group.unsetContainer()
    expect(machine.driver.diary.filter((line) => line.endsWith(EDU))).toEqual([`open ${EDU}`, `close ${EDU}`])
  })

  it('takes everything back when a driver refuses to open', () => {
    const { machine, group } = ready({
      openDevice: () => {
        throw new VfioError('ENODEV', 'open')
      },
    })
    expect(errnoOf(() => group.getDevice(EDU))).toBe('ENODEV')
    expect(machine.driver.diary.slice(-2)).toEqual([`open ${EDU}`, `close ${EDU}`])
    group.unsetContainer()
    group.close()
  })

  it('is gone with its last device, and another comes with the next', () => {
    const { machine, group, device, iommuGroup } = ready()
    machine.registry.unregisterGroupDev(device)
    expect(errnoOf(() => group.status())).toBe('ENODEV')
    expect(errnoOf(() => group.getDevice(EDU))).toBe('ENODEV')
    expect(iommuGroup.dmaOwnerClaimed).toBe(false)
    expect(machine.driver.diary.at(-1)).toBe('release')
    machine.registry.registerGroupDev(device, iommuGroup)
    using again = new Group(machine.registry.group(iommuGroup.number)!, machine.process)
    expect(again.status().viable).toBe(true)
    expect(errnoOf(() => group.setContainer(new Container(machine.container(), machine.process)))).toBe('ENODEV')
  })

  it('stays closed while a device of it is open through its own file', () => {
    const machine = new TestMachine()
    const { group: vfioGroup } = machine.plain()
    vfioGroup.blockByCdev()
    expect(errnoOf(() => new Group(vfioGroup, machine.process))).toBe('EBUSY')
    vfioGroup.unblockByCdev()
    using group = new Group(vfioGroup, machine.process)
    expect(errnoOf(() => vfioGroup.blockByCdev())).toBe('EBUSY')
    expect(group.closed).toBe(false)
  })
})

describe('the registry', () => {
  it('numbers devices with the lowest number that is free', () => {
    const machine = new TestMachine()
    const iommuGroup = machine.group('a', 'b', 'c')
    const [a, b, c] = ['a', 'b', 'c'].map((name) => machine.device(name, iommuGroup))
    expect([a, b, c].map((device) => device?.index)).toEqual([0, 1, 2])
    machine.registry.unregisterGroupDev(b!)
    expect(b?.index).toBeUndefined()
    expect(machine.device('d', iommuGroup).index).toBe(1)
    expect(machine.registry.devices.map((device) => device.name)).toEqual(['a', 'd', 'c'])
  })

  it('registers a device once', () => {
    const machine = new TestMachine()
    const { device, iommuGroup } = machine.plain()
    expect(errnoOf(() => machine.registry.registerGroupDev(device, iommuGroup))).toBe('EBUSY')
    expect(errnoOf(() => machine.registry.registerEmulatedIommuDev(device))).toBe('EBUSY')
    expect(errnoOf(() => device.put())).toBe('EBUSY')
    expect(machine.iommuGroups.list()).toHaveLength(1)
  })

  it('gives each emulated device a group of its own, and takes it back', () => {
    const machine = new TestMachine()
    const seen: string[] = []
    machine.registry.on('group-added', (group) => seen.push(`+group ${group.name}`))
    machine.registry.on('group-removed', (group) => seen.push(`-group ${group.name}`))
    machine.registry.on('device-added', (device) => seen.push(`+vfio${device.index}`))
    machine.registry.on('device-removed', (_device, _group, index) => seen.push(`-vfio${index}`))
    const device = new VfioDevice('uuid', deviceOps(), { path: '/sys/devices/virtual/uuid' })
    machine.sysfs.dir('/sys/devices/virtual/uuid')
    const group = machine.registry.registerEmulatedIommuDev(device)
    expect(group.kind).toBe('emulated')
    expect(machine.sysfs.readlink('/sys/devices/virtual/uuid/iommu_group')).toContain('iommu_groups/0')
    machine.registry.unregisterGroupDev(device)
    machine.registry.unregisterGroupDev(device)
    expect(machine.iommuGroups.list()).toEqual([])
    expect(seen).toEqual(['+group 0', '+vfio0', '-vfio0', '-group 0'])
  })
})
