/** What a machine is made of, as data: the shape of a topology file. Its JSON schema is `docs/topology.schema.json`. */
import type { MachineKind } from '../host/machine-kind.ts'
import type { PciBridgeKind } from '../pci/bridge.ts'
import type { PciQuirks } from '../pci/device.ts'
import type { ReservedRegion } from '../group/iommu-group.ts'

/** A 64-bit quantity: a safe integer, or a string in decimal or, with `0x`, in hexadecimal. */
export type Quantity = number | string

/** A machine. */
export interface Topology {
  /** Where the schema is; ignored. */
  $schema?: string
  /** Kind of machine, page size and number of the first group: as in `SoftwareHostOptions`. */
  platform?: MachineKind
  pageSize?: number
  firstGroup?: number
  /** The IOMMU; `false`: there is none. */
  iommu?: TopologyIommu | false
  /** Module parameters: as in `SoftwareHostOptions`. */
  dmaEntryLimit?: number
  noiommu?: boolean
  allowUnsafeInterrupts?: boolean
  disableHugepages?: boolean
  /** `/dev/iommu` answers the kernel's requests for tests. */
  iommufdTests?: boolean
  /** PCI functions and bridges, plugged in in this order: a bridge before what is behind it. */
  pci?: readonly (TopologyFunction | TopologyBridge)[]
  /** Who offers mediated devices, and which of them are there. */
  mdev?: readonly TopologyParent[]
}

/** The IOMMU of an x86 machine. */
export interface TopologyIommu {
  pgsizes?: Quantity
  addressWidth?: number
  reserved?: readonly { start: Quantity; last: Quantity; kind: ReservedRegion['kind'] }[]
  cacheCoherency?: boolean
}

/** What functions and bridges have in common. */
interface TopologySlot {
  /** Such as `0000:00:04.0`. */
  address: string
  /** Address of the bridge that it sits behind; default: the one that leads to its bus. */
  behind?: string
  quirks?: PciQuirks
}

/** A function. */
export interface TopologyFunction extends TopologySlot {
  /** What stands in the slot. */
  model: TopologyModel
  /** Driver that it is bound to: `vfio-pci`, `pci-stub`, or any name for a driver of the host that uses its DMA. */
  driver?: string
  /** Options of the model's class; 64-bit ones are {@link Quantity}s. */
  options?: Readonly<Record<string, unknown>>
}

/** A bridge. */
export interface TopologyBridge extends TopologySlot {
  bridge: PciBridgeKind
  /** Number of the bus behind it. */
  secondaryBus?: number
  /** Whether the port has Access Control Services; default true. */
  acs?: boolean
}

/** A parent of mediated devices. */
export interface TopologyParent {
  /** The driver, which is also the parent's name unless that is given. */
  driver: TopologyDriver
  name?: string
  /** Options of the driver. */
  options?: Readonly<Record<string, unknown>>
  /** Devices that are there from the beginning. */
  devices?: readonly { type: string; uuid: string }[]
}

/** Devices that a topology can name. */
export type TopologyModel = 'edu' | 'nvme' | 'dma-engine' | 'ioat' | 'e1000e' | 'testdev' | 'inert'

/** Drivers of mediated devices that a topology can name. */
export type TopologyDriver = 'mtty' | 'mdpy' | 'mbochs'

/** The machine of the command line, unless another is asked for: an mtty parent and DMA test devices for `vfio-pci`. */
export const DEFAULT_TOPOLOGY: Topology = {
  pci: [
    { address: '0000:00:04.0', model: 'edu', driver: 'vfio-pci', options: { dmaMask: '0xffffffffffffffff' } },
    { address: '0000:00:05.0', model: 'ioat', driver: 'vfio-pci' },
  ],
  mdev: [{ driver: 'mtty', options: { repaired: true } }],
}
