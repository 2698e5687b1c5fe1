import { describe, expect, it } from 'vitest'
import { InertFunction, SoftwareHost, capabilities } from '../../ts/index.ts'

const errno = (code: string) => expect.objectContaining({ code })

describe('a machine without processes', () => {
  it('needs nothing native and is switched off for good', () => {
    const host = new SoftwareHost({ firstGroup: 26 })
    host.pci.add('0000:00:02.0', new InertFunction({ id: '1102:0002' }))
    expect(host.groups).toEqual([26])
    host.close()
    host.close()
    expect(host.closed).toBe(true)
    expect(host.pci.devices).toEqual([])
    expect(() => host.process()).toThrow(errno('EBADF'))
  })

  it('keeps machines apart', () => {
    using one = new SoftwareHost()
    using two = new SoftwareHost()
    one.pci.add('0000:00:02.0', new InertFunction())
    expect(two.pci.devices).toEqual([])
    expect(two.sysfs.list('/sys/bus/pci/devices')).toEqual([])
  })

  it.each([
    { firstGroup: -1 },
    { dmaEntryLimit: 1.5 },
    { noiommu: 1 },
    { iommu: { addressWidth: 65 } },
    { iommu: { pgsizes: 0 } },
    null,
  ])('refuses the options %j', (options) => {
    expect(() => new SoftwareHost(options as never)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_/) }),
    )
  })
})

describe('groups from outside', () => {
  it('explain who stands in the way and what to do', () => {
    using host = new SoftwareHost({ firstGroup: 26 })
    const bridge = host.pci.addBridge('0000:00:1e.0', { kind: 'pcie-to-pci' })
    host.pci.add('0000:06:0d.0', new InertFunction({ id: '1102:0002' }), { behind: bridge, driver: 'snd_emu' })
    const group = host.group(26)
    expect(group.devices).toEqual(['0000:00:1e.0', '0000:06:0d.0'])
    expect(group.status()).toEqual({ viable: false, containerSet: false })
    expect(String(group.explain())).toContain('echo 0000:06:0d.0 > /sys/bus/pci/devices/0000:06:0d.0/driver/unbind')
    host.sysfs.write('/sys/bus/pci/devices/0000:06:0d.0/driver/unbind', '0000:06:0d.0')
    expect(host.groupOf('0000:06:0d.0').status().viable).toBe(true)
    expect(host.group(26).explain().blockers).toEqual([])
  })

  it('say what is missing', () => {
    using host = new SoftwareHost()
    expect(() => host.group(3)).toThrow(errno('ENOENT'))
    expect(() => host.groupOf('0000:00:1f.0')).toThrow(errno('ENODEV'))
    expect(() => host.group('3' as never)).toThrow(TypeError)
  })
})

describe('module parameters', () => {
  it('show and change settings', () => {
    using host = new SoftwareHost({ dmaEntryLimit: 10, noiommu: true })
    const type1 = '/sys/module/vfio_iommu_type1/parameters'
    const noiommu = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode'
    expect(host.sysfs.read(`${type1}/dma_entry_limit`)).toBe('10\n')
    expect(host.sysfs.read(noiommu)).toBe('Y\n')
    host.sysfs.write(noiommu, '0\n')
    host.sysfs.write(`${type1}/dma_entry_limit`, '0x20\n')
    expect(host.parameters).toMatchObject({ enableUnsafeNoiommuMode: false, dmaEntryLimit: 32 })
    expect(() => host.sysfs.write(`${type1}/dma_entry_limit`, '-1')).toThrow(errno('EINVAL'))
    expect(() => host.sysfs.write(`${type1}/dma_entry_limit`, '4294967296')).toThrow(errno('ERANGE'))
    expect(() => host.sysfs.write(noiommu, 'maybe')).toThrow(errno('EINVAL'))
  })
})

describe('/dev', () => {
  it('has the nodes of VFIO with their modes', () => {
    using host = new SoftwareHost()
    expect(host.dev.list('/dev')).toEqual(['iommu', 'kvm', 'vfio'])
    expect(host.dev.stat('/dev/vfio/vfio').mode).toBe(0o20666)
    expect(host.dev.stat('/dev/iommu').mode).toBe(0o20660)
    expect(host.dev.stat('/dev/vfio').mode).toBe(0o40755)
    expect(host.dev.exists('/dev/vfio/0')).toBe(false)
    expect(() => host.dev.stat('/dev/vfio/0')).toThrow(errno('ENOENT'))
    expect(() => host.dev.list('/dev/vfio/vfio')).toThrow(errno('ENOTDIR'))
    expect(() => host.dev.list('/dev/none')).toThrow(errno('ENOENT'))
  })
})

describe('capabilities', () => {
  it('say what is there', () => {
    expect(capabilities()).toMatchObject({ backend: 'software', iommufd: { available: true } })
  })
})
