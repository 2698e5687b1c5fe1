import { describe, expect, it } from 'vitest'
import { HostMemory, VFIO_SPAPR_TCE_IOMMU } from '../../ts/index.ts'
import { DEVICE, OTHER, PAGE, code, memory, open } from './machines.ts'

describe('registered memory', () => {
  it('is what can be mapped, and nothing else', () => {
    using opened = open()
    const { container } = opened
    using ram = memory(4)
    using foreign = memory(1)
    expect(code(() => container.mapDma({ iova: 0n, memory: ram, read: true, write: true }))).toBe('EPERM')
    container.spapr.registerMemory({ memory: ram })
    expect(code(() => container.mapDma({ iova: 0n, memory: foreign, read: true, write: true }))).toBe('EINVAL')
    container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
  })

  it('is charged once for all containers of a process', () => {
    using opened = open()
    const { container, host, locked } = opened
    using ram = memory(4)
    container.spapr.registerMemory({ memory: ram })
    expect(code(() => container.spapr.registerMemory({ memory: ram }))).toBe('EBUSY')
    expect(locked()).toBe(4n)
    expect(code(() => container.spapr.unregisterMemory({ memory: ram, length: PAGE }))).toBe('ENOENT')
    container.spapr.unregisterMemory({ memory: ram })
    expect(locked()).toBe(0n)
    expect(host.closed).toBe(false)
  })

  it('stays as long as entries lead there, and for ever where the kernel forgets it', () => {
    for (const accountingLeaks of [true, false]) {
      using opened = open({ spapr: { accountingLeaks } })
      const { container, locked } = opened
      using ram = memory(4)
      container.spapr.registerMemory({ memory: ram })
      container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
      container.spapr.unregisterMemory({ memory: ram })
      expect(locked()).toBe(0x84n)
      container.unmapDma({ iova: 0n, length: 4 * PAGE })
      expect(locked()).toBe(accountingLeaks ? 0x84n : 0x80n)
    }
  })

  it('is refused over the limit, unaligned, or overlapping', () => {
    using opened = open({ process: { dropCapabilities: ['CAP_IPC_LOCK'], memlock: 4 * PAGE } })
    const { spapr } = opened.container
    using ram = memory(8)
    expect(code(() => spapr.registerMemory({ memory: ram }))).toBe('ENOMEM')
    expect(code(() => spapr.registerMemory({ memory: ram, length: 4096 }))).toBe('EINVAL')
    spapr.registerMemory({ memory: ram, length: 2 * PAGE })
    expect(code(() => spapr.registerMemory({ memory: ram, offset: PAGE, length: 2 * PAGE }))).toBe('EINVAL')
    expect(opened.locked()).toBe(2n)
  })

  it('tells how many pages of a range are there, and registers none of them', () => {
    using opened = open()
    using process = opened.host.process()
    using container = process.openContainer()
    using group = process.openGroup(opened.host.groupOf(OTHER).number)
    group.setContainer(container)
    container.setIommu(7)
    using ram = memory(8)
    const at = process.map(ram)
    process.unmap(at + 5n * BigInt(PAGE), 3 * PAGE)
    const partial = container.container.backend?.spapr?.registerMemory(process.mm, at, 8n * BigInt(PAGE))
    expect(partial).toBe(5)
    expect(process.lockedVm).toBe(0n)
  })

  it('belongs to the process that uses the container', () => {
    using opened = open()
    const { container, host } = opened
    using ram = memory(1)
    container.spapr.registerMemory({ memory: ram })
    using other = host.process()
    const control = container.container.backend?.spapr
    expect(code(() => control?.registerMemory(other.mm, 0n, BigInt(PAGE)))).toBe('EPERM')
    expect(host.groupOf(DEVICE).status().containerSet).toBe(true)
  })
})

describe('version 1', () => {
  it('charges the whole window when it is enabled, and maps without registering', () => {
    using opened = open({ model: VFIO_SPAPR_TCE_IOMMU })
    const { container, locked } = opened
    using ram = memory(2)
    expect(code(() => container.mapDma({ iova: 0n, memory: ram, read: true, write: true }))).toBe('EPERM')
    container.spapr.enable()
    expect(locked()).toBe(0x8000n)
    expect(code(() => container.spapr.enable())).toBe('EBUSY')
    container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
    expect(locked()).toBe(0x8080n)
    container.spapr.disable()
    expect(locked()).toBe(0x80n)
    expect(code(() => container.spapr.registerMemory({ memory: ram }))).toBe('ENOTTY')
  })

  it('clears what it had set where a page is missing, with what that replaced', () => {
    using opened = open({ model: VFIO_SPAPR_TCE_IOMMU })
    const { container, dma } = opened
    container.spapr.enable()
    using ram = memory(2)
    using short = HostMemory.allocate(PAGE + 4096)
    container.mapDma({ iova: 0n, memory: ram, read: true, write: true })
    const mapping = { iova: 0n, memory: short, read: true, write: true }
    expect(code(() => container.mapDma({ ...mapping, length: PAGE + 4096 }))).toBe('EFAULT')
    dma('read', 0n)
    expect(container.faults.total).toBe(1n)
  })
})

describe('huge pages', () => {
  it('are what windows of huge pages need', () => {
    using opened = open()
    const HUGE = 1 << 21
    using process = opened.host.process()
    using container = process.openContainer()
    using group = process.openGroup(opened.host.groupOf(OTHER).number)
    group.setContainer(container)
    container.setIommu(7)
    const control = container.container.backend?.spapr
    const { mm } = process
    using plain = HostMemory.allocate(HUGE)
    using huge = HostMemory.allocate(2 * HUGE)
    const small = process.map(plain, { align: HUGE })
    const large = process.map(huge, { pageSize: HUGE })
    control?.registerMemory(mm, small, BigInt(HUGE))
    control?.registerMemory(mm, large, BigInt(2 * HUGE))
    const window = control?.createWindow(mm, { pageShift: 21, size: 1n << 31n, levels: 1 }) ?? 0n
    const map = (vaddr: bigint): unknown => container.container.backend?.mapper?.map(mm, 3, vaddr, window, BigInt(HUGE))
    expect(code(() => map(small))).toBe('EINVAL')
    expect(code(() => map(large + BigInt(HUGE)))).toBe(undefined)
    expect(control?.listWindows()[1]?.entry(window)).toBeGreaterThan(0n)
  })
})
