import { describe, expect, it } from 'vitest'
import {
  VFIO_EEH,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_SPAPR_TCE_IOMMU,
} from '../../ts/index.ts'
import { PAGE, code, memory, open, type Opened } from './machines.ts'

/** A device with a page mapped at 0, in version 1, which needs no registration. */
function running(): Opened & { ram: ReturnType<typeof memory> } {
  const opened = open({ model: VFIO_SPAPR_TCE_IOMMU })
  const ram = memory(1)
  opened.container.spapr.enable()
  opened.container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
  return { ...opened, ram }
}

const config = ({ device }: Opened) => device.region(VFIO_PCI_CONFIG_REGION_INDEX)
const bar = ({ device }: Opened) => device.region(VFIO_PCI_BAR0_REGION_INDEX)

describe('a frozen endpoint', () => {
  it('reads ones from configuration space and BARs, and drops writes and DMA', () => {
    using opened = running()
    const { container, ram, dma } = opened
    const { eeh } = container.spapr
    expect(container.checkExtension(VFIO_EEH)).toBe(true)
    expect(eeh.state()).toBe('normal')
    const identification = bar(opened).readU32(0)
    eeh.inject({ type: 0, func: 4 })
    expect(eeh.state()).toBe('stopped')
    expect(config(opened).readU32(0)).toBe(0xffff_ffff)
    expect(bar(opened).readU32(0)).toBe(0xffff_ffff)
    const command = 7
    config(opened).writeU16(4, command)
    bar(opened).writeU32(4, 0)
    ram.fill(0x11)
    dma('write', 0n)
    expect(ram.readU32(0)).toBe(0x1111_1111)
    eeh.unfreezeIo()
    expect(eeh.state()).toBe('stopped-dma')
    expect(bar(opened).readU32(0)).toBe(identification)
    expect(config(opened).readU16(4)).toBe(6)
    dma('write', 0n)
    expect(ram.readU32(0)).toBe(0x1111_1111)
    eeh.unfreezeDma()
    expect(eeh.state()).toBe('normal')
    dma('write', 0n)
    expect(ram.readU32(0)).toBe(0)
  })

  it.each([
    ['outside of every window', 0x9000_0000n, 'outside-window'],
    ['where nothing is mapped', 0x10_0000n, 'no-mapping'],
  ])('comes of a DMA %s, and the log says why', (_, iova, reason) => {
    using opened = running()
    const { container, dma } = opened
    dma('write', iova)
    expect(container.spapr.eeh.state()).toBe('stopped')
    expect(container.faults.records()).toMatchObject([{ iova, reason }])
  })

  it('comes of a write that the entry forbids', () => {
    using opened = running()
    using other = memory(1)
    opened.container.mapDma({ iova: 0x10_0000n, memory: other, read: true, write: false })
    opened.dma('read', 0x10_0000n)
    expect(opened.container.spapr.eeh.state()).toBe('normal')
    opened.dma('write', 0x10_0000n)
    expect(opened.container.spapr.eeh.state()).toBe('stopped')
    expect(opened.container.faults.records()).toMatchObject([{ reason: 'permission' }])
  })

  it.each(Array.from({ length: 20 }, (_, func) => func))('comes of every error that can be injected: %i', (func) => {
    using opened = running()
    const { eeh } = opened.container.spapr
    for (const type of [0, 1] as const) {
      eeh.inject({ type, func, addr: 0x1000n, mask: 0xffff_f000n })
      expect(eeh.state()).toBe('stopped')
      eeh.deactivateReset()
      expect(eeh.state()).toBe('normal')
    }
  })
})

describe('recovery', () => {
  it.each(['hot', 'fundamental'] as const)('goes through a %s reset', (kind) => {
    using opened = running()
    const { container, ram, dma } = opened
    const { eeh } = container.spapr
    eeh.enable()
    bar(opened).writeU32(4, 0x1234)
    eeh.inject({ type: 1, func: 12 })
    eeh.unfreezeIo()
    eeh.reset(kind)
    expect(eeh.state()).toBe('reset')
    expect(config(opened).readU16(0)).toBe(0xffff)
    expect(code(() => eeh.unfreezeIo())).toBe('EIO')
    eeh.deactivateReset()
    eeh.configure()
    expect(eeh.state()).toBe('normal')
    config(opened).writeU16(4, 6)
    ram.fill(0x22)
    dma('write', 0n)
    expect(ram.readU32(0)).toBe(0)
    expect(bar(opened).readU32(4)).not.toBe(~0x1234 >>> 0)
  })

  it('starts anew in the next container', () => {
    using host = running()
    host.container.spapr.eeh.inject({ type: 0, func: 0 })
    host[Symbol.dispose]()
    using again = running()
    expect(again.container.spapr.eeh.state()).toBe('normal')
  })
})

describe('what EEH refuses', () => {
  it('errors that there are not', () => {
    using opened = running()
    const { eeh } = opened.container.spapr
    expect(code(() => eeh.inject({ type: 0, func: 20 }))).toBe('EINVAL')
    expect(code(() => eeh.inject({ type: 2 as 0, func: 0 }))).toBe('ERANGE')
    expect(eeh.state()).toBe('normal')
  })

  it('everything on a machine without it', () => {
    using opened = open({ platform: 'pseries' })
    expect(opened.container.checkExtension(VFIO_EEH)).toBe(false)
    expect(code(() => opened.container.spapr.eeh.state())).toBe('ENODEV')
  })

  it('to freeze what is emulated', () => {
    using opened = open({ spapr: { eeh: 'emulated' } })
    const { spapr } = opened.container
    using ram = memory(1)
    spapr.registerMemory({ memory: ram })
    opened.container.mapDma({ iova: 0n, memory: ram, read: true, write: true, length: PAGE })
    opened.dma('write', 0x9000_0000n)
    spapr.eeh.inject({ type: 0, func: 4 })
    expect(spapr.eeh.state()).toBe('normal')
    expect(code(() => spapr.eeh.inject({ type: 0, func: 0 }))).toBe('EIO')
    expect(code(() => spapr.eeh.reset('fundamental'))).toBe('EIO')
  })
})
