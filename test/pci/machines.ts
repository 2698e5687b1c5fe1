/** Machines for the tests: topologies made of functions that nobody emulates, so that they need no native code. */
import { IommuGroupRegistry } from '../../ts/group/iommu-group.ts'
import { HostPci, type HostPciOptions } from '../../ts/pci/host-pci.ts'
import { InertFunction } from '../../ts/pci/inert-function.ts'
import { SysfsTree } from '../../ts/sysfs/tree.ts'

export const MSI_WINDOW = { start: 0xfee00000n, last: 0xfeefffffn, kind: 'msi' } as const

export interface Machine {
  sysfs: SysfsTree
  groups: IommuGroupRegistry
  pci: HostPci
}

/** A machine with nothing in it. */
export function emptyMachine(firstGroup = 0, iommu: HostPciOptions['iommu'] = { reserved: [MSI_WINDOW] }): Machine {
  const sysfs = new SysfsTree()
  const groups = new IommuGroupRegistry(sysfs, firstGroup)
  const pci = new HostPci({ sysfs, groups, iommu })
  return { sysfs, groups, pci }
}

const MIB = 1 << 20
const educational = (multifunction = false) =>
  new InertFunction({
    id: '1234:11e8',
    bars: [{ index: 0, size: MIB, kind: 'memory32' }],
    interruptPin: 1,
    multifunction,
  })

/** A q35 machine with root ports, a multifunction slot and a PCIe-to-PCI bridge, in the order of enumeration. */
export function q35(): Machine {
  const machine = emptyMachine()
  const { pci } = machine
  const page = { index: 1, size: 4096, kind: 'memory32' } as const
  pci.add('0000:00:00.0', new InertFunction({ id: '8086:29c0', classCode: 0x060000 }))
  pci.add('0000:00:01.0', new InertFunction({ id: '1af4:1009', classCode: 0x000200, bars: [page] }))
  pci.add('0000:00:04.0', educational())
  pci.add(
    '0000:00:05.0',
    new InertFunction({
      id: '1b36:0005',
      classCode: 0x00ff00,
      bars: [
        { index: 0, size: 4096, kind: 'memory32' },
        { index: 1, size: 256, kind: 'io' },
        { index: 2, size: 1 << 16, kind: 'memory64', prefetchable: true },
      ],
    }),
  )
  pci.add('0000:00:06.0', educational(true))
  pci.add('0000:00:06.1', educational())
  for (const [slot, bus] of [
    ['08', 1],
    ['09', 2],
    ['0a', 3],
  ] as const) {
    pci.addBridge(`0000:00:${slot}.0`, { kind: 'root-port', secondaryBus: bus })
  }
  pci.add('0000:00:1f.0', new InertFunction({ id: '8086:2918', classCode: 0x060100, multifunction: true }))
  pci.add('0000:00:1f.2', new InertFunction({ id: '8086:2922', classCode: 0x010601, bars: [{ ...page, index: 5 }] }))
  pci.add('0000:00:1f.3', new InertFunction({ id: '8086:2930', classCode: 0x0c0500 }))
  pci.add(
    '0000:01:00.0',
    new InertFunction({
      id: '1b36:0010',
      classCode: 0x010802,
      express: 'endpoint',
      interruptPin: 1,
      bars: [{ index: 0, size: 16384, kind: 'memory64' }],
    }),
  )
  pci.add(
    '0000:02:00.0',
    new InertFunction({
      id: '8086:10d3',
      classCode: 0x020000,
      express: 'endpoint',
      interruptPin: 1,
      bars: [
        { index: 0, size: 1 << 17, kind: 'memory32' },
        { index: 1, size: 1 << 17, kind: 'memory32' },
        { index: 2, size: 32, kind: 'io' },
        { index: 3, size: 1 << 14, kind: 'memory32' },
      ],
    }),
  )
  pci.addBridge('0000:03:00.0', { kind: 'pcie-to-pci', secondaryBus: 4 })
  pci.add('0000:04:01.0', educational())
  pci.add('0000:04:02.0', new InertFunction({ id: '1af4:1005', bars: [{ index: 0, size: 32, kind: 'io' }] }), {
    driver: 'virtio-pci',
  })
  pci.powerOn()
  return machine
}

/** The machine of the VFIO document's usage example: a conventional bridge with two functions behind it. */
export function documentMachine(): Machine {
  const machine = emptyMachine(26)
  const { pci } = machine
  const bridge = pci.addBridge('0000:00:1e.0', { kind: 'pci', revision: 0x90, secondaryBus: 6 })
  pci.add('0000:06:0d.0', new InertFunction({ id: '1102:0002', revision: 8, classCode: 0x040100 }), {
    behind: bridge,
    driver: 'snd_emu10k1',
  })
  pci.add('0000:06:0d.1', new InertFunction({ id: '1102:7002', revision: 8, classCode: 0x098000 }), {
    behind: bridge,
    driver: 'emu10k1-gp',
  })
  return machine
}

/** Names of a group's members, by group number. */
export function membersOf(machine: Machine): Record<number, string[]> {
  return Object.fromEntries(
    machine.groups.list().map((group) => [group.number, group.members.map((member) => member.name)]),
  )
}
