import { describe, expect, it } from 'vitest'
import {
  H_PARAMETER,
  H_SUCCESS,
  H_TOO_HARD,
  HostMemory,
  KVM_DEV_TYPE_VFIO,
  KVM_DEV_VFIO_GROUP,
  KVM_DEV_VFIO_GROUP_ADD,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
  VFIO_SPAPR_TCE_v2_IOMMU,
} from '../../ts/index.ts'
import {
  kvmCreateDevice,
  kvmDeviceAttr,
  kvmVfioSpaprTce,
  vfioIommuSpaprRegisterMemory,
  vfioIommuSpaprTceCreate,
} from '../../ts/uapi/structs.ts'
import { DEVICE, PAGE, code, powerHost } from './machines.ts'

const RW = 3n
const READ = 1n
const GUEST = 0x4000_0000n

/** A guest with eight pages of memory, which are registered, and a wide window. */
function guest(tablePage = PAGE) {
  const host = powerHost()
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(DEVICE).number)
  group.setContainer(container)
  container.setIommu(VFIO_SPAPR_TCE_v2_IOMMU)
  const ram = HostMemory.allocate(8 * PAGE)
  container.spapr.registerMemory({ memory: ram })
  const start = container.spapr.createWindow({ pageSize: PAGE, size: 1n << 30n })
  const memory = [{ guest: GUEST, memory: ram }]
  const { table } = host.defaultProcess.openGuestTable({ pageSize: tablePage, start, size: 1n << 30n, memory })
  const window = container.spapr.windows[1]
  if (window === undefined) throw new Error('no window')
  return {
    host,
    container,
    start,
    table,
    ram,
    window,
    attach: () => host.attachGuestTable(host.groupOf(DEVICE).number, table),
    [Symbol.dispose]() {
      group.close()
      container.close()
      ram.close()
      host.close()
    },
  }
}

describe("a guest's TCE table", () => {
  it('reaches the window of the group that it is attached to', () => {
    using machine = guest()
    const { table, start, window } = machine
    expect(table.put(start, GUEST | READ)).toBe(H_SUCCESS)
    expect(window.entry(start)).toBe(0n)
    machine.attach()
    machine.attach()
    expect(table.followers).toBe(1)
    expect(table.put(start, (GUEST + BigInt(PAGE)) | RW)).toBe(H_SUCCESS)
    expect(window.entry(start) & RW).toBe(RW)
    expect(table.get(start)).toBe((GUEST + BigInt(PAGE)) | RW)
    expect(table.put(start, 0n)).toBe(H_SUCCESS)
    expect(window.entry(start)).toBe(0n)
  })

  it('takes up to 512 entries at once, and clears as many', () => {
    using machine = guest()
    const { table, start, window } = machine
    machine.attach()
    const entries = BigUint64Array.from({ length: 512 }, (_, i) => (GUEST + BigInt((i % 8) * PAGE)) | RW)
    expect(table.putIndirect(start, entries)).toBe(H_SUCCESS)
    expect(window.entry(start + 511n * BigInt(PAGE))).toBeGreaterThan(0n)
    expect(table.putIndirect(start, new BigUint64Array(513))).toBe(H_PARAMETER)
    expect(table.stuff(start, 0n, 512)).toBe(H_SUCCESS)
    expect(window.entry(start)).toBe(0n)
    expect(table.stuff(start, 1n, 1)).toBe(H_PARAMETER)
  })

  it('is refused what is outside, unaligned, or not registered', () => {
    using machine = guest()
    const { table, start, window, container, ram } = machine
    machine.attach()
    expect(table.put(start - BigInt(PAGE), GUEST | RW)).toBe(H_PARAMETER)
    expect(table.put(start + 1n, GUEST | RW)).toBe(H_PARAMETER)
    expect(table.put(start + (1n << 30n), GUEST | RW)).toBe(H_PARAMETER)
    expect(table.put(start, (GUEST + 4096n) | RW)).toBe(H_PARAMETER)
    expect(table.put(start, 0x9000_0000n | RW)).toBe(H_TOO_HARD)
    container.spapr.unregisterMemory({ memory: ram })
    expect(table.put(start, GUEST | RW)).toBe(H_TOO_HARD)
    expect(window.entry(start)).toBe(0n)
    expect(table.get(start)).toBe(0n)
  })

  it('may have larger pages than the window, and no smaller ones', () => {
    using machine = guest(2 * PAGE)
    const { table, start, window } = machine
    machine.attach()
    expect(table.put(start, GUEST | RW)).toBe(H_SUCCESS)
    expect(window.entry(start + BigInt(PAGE)) - window.entry(start)).toBe(BigInt(PAGE))
    using small = guest(4096)
    expect(code(() => small.attach())).toBe('EINVAL')
  })

  it('no longer reaches a window that was removed', () => {
    using machine = guest()
    machine.attach()
    machine.container.spapr.removeWindow(machine.start)
    expect(machine.table.put(machine.start, GUEST | RW)).toBe(H_SUCCESS)
    expect(machine.table.followers).toBe(0)
  })
})

describe('the VFIO device of a virtual machine', () => {
  it('gives a group the table by their files, once the group was added', () => {
    using host = powerHost()
    using process = host.process()
    const group = process.open(`/dev/vfio/${host.groupOf(DEVICE).number}`)
    const container = process.open('/dev/vfio/vfio')
    group.ioctl('VFIO_GROUP_SET_CONTAINER', new Uint8Array(Int32Array.of(container.fd).buffer))
    container.ioctl('VFIO_SET_IOMMU', VFIO_SPAPR_TCE_v2_IOMMU)
    using ram = HostMemory.allocate(8 * PAGE)
    const vaddr = process.place(ram)
    container.ioctl(
      'VFIO_IOMMU_SPAPR_REGISTER_MEMORY',
      vfioIommuSpaprRegisterMemory.bytes({ argsz: 24, vaddr, size: BigInt(8 * PAGE) }),
    )
    const create = vfioIommuSpaprTceCreate.bytes({ argsz: 40, pageShift: 16, windowSize: 1n << 30n, levels: 1 })
    container.ioctl('VFIO_IOMMU_SPAPR_TCE_CREATE', create)
    const start = vfioIommuSpaprTceCreate.decode(create).startAddr
    const memory = [{ guest: GUEST, memory: ram }]
    const { file, table } = process.openGuestTable({ pageSize: PAGE, start, size: 1n << 30n, memory })

    const machine = process.file(process.open('/dev/kvm').ioctl('KVM_CREATE_VM'))
    const made = kvmCreateDevice.bytes({ type: KVM_DEV_TYPE_VFIO })
    machine.ioctl('KVM_CREATE_DEVICE', made)
    const device = process.file(kvmCreateDevice.decode(made).fd)
    using scratch = HostMemory.allocate(PAGE)
    const addr = process.map(scratch)
    const set = (attr: number): unknown =>
      device.ioctl('KVM_SET_DEVICE_ATTR', kvmDeviceAttr.bytes({ group: KVM_DEV_VFIO_GROUP, attr: BigInt(attr), addr }))
    process.writeMemory(addr, kvmVfioSpaprTce.bytes({ groupfd: group.fd, tablefd: file.fd }))
    expect(code(() => set(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE))).toBe('ENOENT')
    set(KVM_DEV_VFIO_GROUP_ADD)
    set(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE)
    expect(table.followers).toBe(1)
    expect(table.put(start, GUEST | RW)).toBe(H_SUCCESS)
    process.writeMemory(addr, kvmVfioSpaprTce.bytes({ groupfd: group.fd, tablefd: container.fd }))
    expect(code(() => set(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE))).toBe('EINVAL')
  })
})
