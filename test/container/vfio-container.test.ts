import { describe, expect, it } from 'vitest'
import { Container } from '../../ts/container/container.ts'
import { Group } from '../../ts/group/group.ts'
import { DiaryDriver, errnoOf, TestMachine, TestProcess } from '../parts/machine.ts'

function opened(machine = new TestMachine()) {
  const { group: vfioGroup, device } = machine.plain()
  const container = new Container(machine.container(), machine.process)
  const group = new Group(vfioGroup, machine.process)
  return { machine, container, group, device }
}

describe('a container', () => {
  it('tells its version', () => {
    const { container } = opened()
    expect(container.apiVersion()).toBe(0)
  })

  it('asks every driver for an extension before a model is chosen, and then its own', () => {
    const { container, group } = opened()
    expect(container.checkExtension(3)).toBe(true)
    expect(container.checkExtension(4)).toBe(false)
    expect(container.checkExtension(0xffff_ffff)).toBe(false)
    group.setContainer(container)
    container.setIommu(3)
    expect(container.checkExtension(4)).toBe(true)
  })

  it('chooses no model without a group', () => {
    const { container } = opened()
    expect(errnoOf(() => container.setIommu(3))).toBe('EINVAL')
  })

  it('knows no model that no driver affirms', () => {
    const { container, group } = opened()
    group.setContainer(container)
    expect(errnoOf(() => container.setIommu(7))).toBe('ENODEV')
    expect(errnoOf(() => container.setIommu(0xffff_ffff))).toBe('ENODEV')
  })

  it('answers with what the driver says of an extension that is no model', () => {
    const { container, group } = opened()
    group.setContainer(container)
    expect(errnoOf(() => container.setIommu(9))).toBe('EINVAL')
    container.setIommu(3)
    expect(container.model).toBe(3)
  })

  it('chooses a model once', () => {
    const { container, group } = opened()
    group.setContainer(container)
    container.setIommu(1)
    expect(errnoOf(() => container.setIommu(3))).toBe('EINVAL')
    expect(container.model).toBe(1)
  })

  it('asks the next driver where one cannot attach the groups, giving everything back', () => {
    const machine = new TestMachine()
    const second = new DiaryDriver()
    machine.drivers.register(second)
    const { container, group } = opened(machine)
    machine.driver.refused.add(group.name)
    group.setContainer(container)
    container.setIommu(3)
    expect(machine.driver.diary).toEqual(['open 3', 'release'])
    expect(second.diary).toEqual(['open 3', `attach ${group.name}`])
  })

  it('attaches a second group at once', () => {
    const { machine, container, group } = opened()
    const other = new Group(machine.plain('0000:00:05.0').group, machine.process)
    group.setContainer(container)
    container.setIommu(3)
    other.setContainer(container)
    expect(machine.driver.diary).toEqual(['open 3', 'attach 0', 'attach 1'])
    expect(other.status()).toEqual({ viable: true, containerSet: true })
  })

  it('leaves a group alone that the driver refuses', () => {
    const { machine, container, group } = opened()
    const { group: vfioGroup } = machine.plain('0000:00:05.0')
    const other = new Group(vfioGroup, machine.process)
    group.setContainer(container)
    container.setIommu(3)
    machine.driver.refused.add(other.name)
    expect(errnoOf(() => other.setContainer(container))).toBe('EINVAL')
    expect(other.status()).toEqual({ viable: true, containerSet: false })
    expect(vfioGroup.iommuGroup.dmaOwnerClaimed).toBe(false)
  })

  it('forgets its model with the last group, and takes another', () => {
    const { machine, container, group } = opened()
    group.setContainer(container)
    container.setIommu(3)
    group.unsetContainer()
    expect(machine.driver.diary).toEqual(['open 3', 'attach 0', 'detach 0', 'release'])
    expect(errnoOf(() => container.setIommu(1))).toBe('EINVAL')
    group.setContainer(container)
    container.setIommu(1)
    expect(container.model).toBe(1)
  })

  it('stays when its handle is closed while a group is in it', () => {
    const { machine, container, group, device } = opened()
    group.setContainer(container)
    container.setIommu(3)
    container.close()
    container.close()
    const opening = group.getDevice(device.name)
    opening.close()
    group.unsetContainer()
    expect(machine.driver.diary.at(-1)).toBe('release')
    expect(errnoOf(() => container.apiVersion())).toBe('EBADF')
    expect(errnoOf(() => group.setContainer(container))).toBe('EBADF')
  })

  it('refuses to map before a model is chosen, and says what to do', () => {
    const { container, group } = opened()
    group.setContainer(container)
    expect(() => container.unmapAll()).toThrow(/EINVAL.*VFIO_SET_IOMMU/)
    container.setIommu(3)
    expect(errnoOf(() => container.info())).toBe('ENOTTY')
  })
})

describe('groups without isolation', () => {
  function noiommu() {
    const machine = new TestMachine()
    machine.noiommu = true
    const { device } = unisolated(machine)
    const vfioGroup = machine.registry.groupOf(device)
    if (vfioGroup === undefined) throw new Error('no group')
    return { machine, device, vfioGroup, container: new Container(machine.container(), machine.process) }
  }

  function unisolated(machine: TestMachine) {
    const { device } = machine.plain('0000:00:09.0')
    machine.registry.unregisterGroupDev(device)
    machine.registry.registerGroupDev(device, undefined)
    return { device }
  }

  it('serve model 8 and no other', () => {
    const { machine, vfioGroup, container, device } = noiommu()
    const group = new Group(vfioGroup, machine.process)
    expect(group.name).toBe(`noiommu-${group.number}`)
    expect(container.checkExtension(8)).toBe(true)
    group.setContainer(container)
    expect(container.checkExtension(3)).toBe(false)
    expect(errnoOf(() => container.setIommu(3))).toBe('ENODEV')
    container.setIommu(8)
    expect(errnoOf(() => container.info())).toBe('ENOTTY')
    group.getDevice(device.name).close()
  })

  it('do not share a container with isolated ones', () => {
    const { machine, vfioGroup, container } = noiommu()
    const group = new Group(vfioGroup, machine.process)
    const isolated = new Group(machine.plain().group, machine.process)
    group.setContainer(container)
    expect(errnoOf(() => isolated.setContainer(container))).toBe('EPERM')
  })

  it('need CAP_SYS_RAWIO at every step', () => {
    const { machine, vfioGroup } = noiommu()
    const plain = new TestProcess(['CAP_SYS_RAWIO'])
    expect(errnoOf(() => new Group(vfioGroup, plain))).toBe('EPERM')
    const group = new Group(vfioGroup, machine.process)
    const container = machine.container()
    expect(errnoOf(() => group.session.setContainer(plain, container))).toBe('EPERM')
    group.session.setContainer(machine.process, container)
    expect(errnoOf(() => container.setIommu(plain, 8))).toBe('EPERM')
    container.setIommu(machine.process, 8)
    expect(errnoOf(() => group.session.openDevice(plain, '0000:00:09.0'))).toBe('EPERM')
  })

  it('are not there unless the machine allows them', () => {
    const machine = new TestMachine()
    expect(errnoOf(() => unisolated(machine))).toBe('EINVAL')
    expect(machine.registry.devices).toEqual([])
    expect(machine.container().checkExtension(8)).toBe(0)
  })
})
