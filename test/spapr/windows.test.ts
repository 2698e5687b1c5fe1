import { describe, expect, it } from 'vitest'
import { VFIO_SPAPR_TCE_IOMMU, VFIO_TYPE1v2_IOMMU } from '../../ts/index.ts'
import { DEVICE, OTHER, PAGE, code, memory, open, powerHost } from './machines.ts'

const WIDE = 1n << 59n
const SIZE = 0x8000_0000n

describe('windows', () => {
  it('makes the default one at the first mapping and charges its table then', () => {
    using opened = open()
    const { container, locked } = opened
    using ram = memory(4)
    container.spapr.registerMemory({ memory: ram })
    expect(locked()).toBe(4n)
    expect(container.spapr.windows).toEqual([])
    container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
    expect(locked()).toBe(4n + 0x80n)
    expect(container.spapr.windows).toMatchObject([{ start: 0n, pageShift: 12, size: SIZE }])
  })

  it('puts a second one at 1 << 59, and refuses a third', () => {
    using opened = open()
    const { spapr } = opened.container
    expect(spapr.createWindow({ pageSize: PAGE, size: SIZE })).toBe(WIDE)
    expect(code(() => spapr.createWindow({ pageSize: PAGE, size: SIZE }))).toBe('ENOSPC')
    spapr.removeWindow(WIDE + 12345n)
    expect(spapr.createWindow({ pageSize: 4096, size: SIZE, levels: 3 })).toBe(WIDE)
  })

  it('cancels the default one while it is only expected', () => {
    using opened = open()
    const { spapr } = opened.container
    spapr.removeWindow(0n)
    expect(spapr.createWindow({ pageSize: PAGE, size: SIZE })).toBe(0n)
    expect(spapr.createWindow({ pageSize: PAGE, size: SIZE })).toBe(WIDE)
  })

  it.each([
    ['a page size that the platform lacks', { pageSize: 8192, size: SIZE }],
    ['a size that is no power of two', { pageSize: PAGE, size: SIZE + 0x1_0000n }],
    ['no level', { pageSize: PAGE, size: SIZE, levels: 0 }],
    ['six levels', { pageSize: PAGE, size: SIZE, levels: 6 }],
  ])('refuses %s and charges nothing for it', (_, request) => {
    using opened = open()
    expect(code(() => opened.container.spapr.createWindow(request))).toBe('EINVAL')
    expect(opened.locked()).toBe(0x80n)
  })

  it('keeps the charge of a window that could not be allocated, unless leaks are off', () => {
    const request = { pageSize: 4096, size: 1n << 40n }
    using leaking = open()
    expect(code(() => leaking.container.spapr.createWindow(request))).toBe('ENOMEM')
    expect(leaking.locked()).toBeGreaterThan(0x80n)
    using sound = open({ spapr: { accountingLeaks: false } })
    expect(code(() => sound.container.spapr.createWindow(request))).toBe('ENOMEM')
    expect(sound.locked()).toBe(0x80n)
  })

  it('charges tables against the limit', () => {
    using opened = open({ process: { dropCapabilities: ['CAP_IPC_LOCK'], memlock: 0x90 * PAGE } })
    const { spapr } = opened.container
    expect(code(() => spapr.createWindow({ pageSize: 4096, size: SIZE }))).toBe('ENOMEM')
    expect(opened.locked()).toBe(0x80n)
    expect(spapr.createWindow({ pageSize: PAGE, size: SIZE })).toBe(WIDE)
  })

  it('gives a pseries no window any more once its firmware has refused one', () => {
    using host = powerHost({ platform: 'pseries' })
    using opened = open({ on: host })
    const { spapr } = opened.container
    spapr.removeWindow(0n)
    expect(spapr.createWindow({ pageSize: PAGE, size: 1n << 28n })).toBe(WIDE)
    expect(code(() => spapr.createWindow({ pageSize: PAGE, size: 1n << 28n }))).toBe('ENODEV')
    spapr.removeWindow(WIDE)
    expect(code(() => spapr.createWindow({ pageSize: PAGE, size: 1n << 28n }))).toBe('ENODEV')
  })

  it('knows page sizes, windows and levels in version 2 only', () => {
    using second = open()
    expect(second.container.spapr.info()).toEqual({
      dma32Start: 0n,
      dma32Size: SIZE,
      dynamic: { pageSizes: 0x4021_1000n, maxWindows: 2, levels: 5 },
    })
    using first = open({ model: VFIO_SPAPR_TCE_IOMMU })
    expect(first.container.spapr.info()).toEqual({ dma32Start: 0n, dma32Size: SIZE })
  })
})

describe('groups', () => {
  it('shares windows between groups on PowerNV, and lets version 1 have one group', () => {
    using opened = open()
    const { host, container } = opened
    container.spapr.createWindow({ pageSize: PAGE, size: SIZE })
    using other = host.openGroup(host.groupOf(OTHER).number)
    other.setContainer(container)
    expect(container.spapr.windows).toHaveLength(2)
  })

  it('refuses a second group in version 1', () => {
    using opened = open({ model: VFIO_SPAPR_TCE_IOMMU })
    using other = opened.host.openGroup(opened.host.groupOf(OTHER).number)
    expect(code(() => other.setContainer(opened.container))).toBe('EBUSY')
  })

  it('knows no type1 on a POWER machine, and no sPAPR elsewhere', () => {
    using host = powerHost()
    using container = host.openContainer()
    using group = host.openGroup(host.groupOf(DEVICE).number)
    group.setContainer(container)
    expect(code(() => container.setIommu(VFIO_TYPE1v2_IOMMU))).toBe('ENODEV')
    expect(code(() => container.setIommu(5))).toBe('EINVAL')
  })
})
