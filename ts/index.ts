/**
 * Linux VFIO in user space: groups, containers, IOMMUs and devices without a kernel, privileges or hardware.
 *
 * Begin with {@link SoftwareHost}. The constants of the uapi are here too; its structures, requests and errnos as data are in
 * `vfio/uapi`.
 *
 * @module vfio
 */
export { capabilities, type Availability, type BackendCapabilities } from './host/capabilities.ts'
export { allCapabilities, type Capability } from './host/capability.ts'
export { DevTree, type DevEvents, type DevNode, type DevStat, type NodeUser } from './host/dev-tree.ts'
export { FileHandle, type FileMapRequest, type IoctlName } from './host/file-handle.ts'
export { GroupView } from './host/group-view.ts'
export type { HostMount, MountOptions } from './host/host-mount.ts'
export type { ModuleParameters } from './host/module-parameters.ts'
export { HostProcess, type ProcessOptions } from './host/process.ts'
export type { MapOptions } from './host/process-memory.ts'
export { BusDevice, type ParentDevice } from './host/bus-device.ts'
export { PlainDevice, type PlainDeviceOptions } from './host/plain-device.ts'
export { VfioCore, type BusDeviceOptions } from './host/vfio-core.ts'
export { SoftwareHost, type IommuOptions, type SoftwareHostOptions } from './host/software-host.ts'
export type { MachineKind } from './host/machine-kind.ts'

export { hostFromTopology } from './topology/machine.ts'
export {
  DEFAULT_TOPOLOGY,
  type Quantity,
  type Topology,
  type TopologyBridge,
  type TopologyDriver,
  type TopologyFunction,
  type TopologyIommu,
  type TopologyModel,
  type TopologyParent,
} from './topology/topology.ts'

export type { GuestTableOptions } from './host/guest-tables.ts'
export { Endpoint } from './spapr/endpoint.ts'
export { GuestTceTable, H_PARAMETER, H_SUCCESS, H_TOO_HARD, type GuestTableGeometry } from './spapr/guest-tce-table.ts'
export type { SpaprOptions, SpaprPlatformName } from './spapr/settings.ts'

export type { PciAddress } from './pci/address.ts'
export type { PciBridgeKind, PciBridgeOptions } from './pci/bridge.ts'
export type { ConfigAccess, PciHeader } from './pci/config-layout.ts'
export type { PciBar } from './pci/config-space.ts'
export { PciBus, PciDevice, type BoundDriver, type PciQuirks } from './pci/device.ts'
export { PciDriver, type PciDriverOps } from './pci/driver.ts'
export { DmaEngine, type DmaEngineOperation, type DmaEngineRequest, type DmaEngineStatus } from './pci/dma-engine.ts'
export { Edu, type EduOptions } from './pci/edu.ts'
export { Ioat } from './pci/ioat.ts'
export { RunningProgram, runProgram } from './run/run.ts'
export type { ProgramEnd, RunOptions } from './run/options.ts'
export { Nvme, type NvmeOptions } from './pci/nvme.ts'
export { E1000e, Testdev } from './pci/qemu-devices.ts'
export type { PciFunctionDescriptor, PciFunctionOptions, PciHardware } from './pci/hardware.ts'
export { HostPci, type BridgePlugOptions, type HostPciOptions, type PlugOptions } from './pci/host-pci.ts'
export type { FullDeviceId, IdentifiedFunction, PciDeviceId } from './pci/id-table.ts'
export { InertFunction, type InertFunctionOptions } from './pci/inert-function.ts'
export type { BarResource } from './pci/resources.ts'

export { MdevBus } from './mdev/bus.ts'
export type { LegacyParentOptions } from './mdev/legacy.ts'
export type { LegacyArgument, LegacyMapping, LegacyTypeGroup, MdevParentOps } from './mdev/legacy-ops.ts'
export type {
  Mdev,
  MdevAttribute,
  MdevAttributeGroups,
  MdevAttributes,
  MdevDriver,
  MdevModel,
  MdevParent,
  MdevType,
  MdevTypeDescription,
} from './mdev/model.ts'
export type { MdevParentOptions } from './mdev/parent-options.ts'
export { UeventEmitter, type Uevent, type UeventMap } from './mdev/uevents.ts'
export { mbochs, type MbochsOptions } from './drivers/mbochs.ts'
export { mdpy, type MdpyOptions } from './drivers/mdpy.ts'
export { mtty, type MttyOptions } from './drivers/mtty.ts'

export { Group, type ContainerLike, type GroupStatus } from './group/group.ts'
export { GroupExplanation, type ExplainedMember } from './group/group-explanation.ts'
export {
  IommuGroup,
  IommuGroupRegistry,
  type GroupMember,
  type IommuGroupOptions,
  type ReservedRegion,
} from './group/iommu-group.ts'
export {
  Container,
  type DmaMapping,
  type DmaMappingBatch,
  type DmaRange,
  type MemoryPart,
} from './container/container.ts'
export { DirtyTracking, type DirtyQuery } from './container/dirty-tracking.ts'
export { SharedDomain } from './type1/shared-domain.ts'
export { Eeh, Spapr, type EehStateName, type RegisteredPart, type WindowOptions } from './container/spapr.ts'
export type { SpaprInfo, SpaprWindow } from './container/spapr-control.ts'
export type { IommuInfo, IovaRange } from './container/dma-mapper.ts'
export { FaultLog, type DmaFault, type FaultEvents } from './container/fault-log.ts'
export type {
  NativeFaultReason as DmaFaultReason,
  NativeMemoryKind,
  NativeMemorySource,
  WebAssemblyMemory,
} from './native/addon.ts'

export { Ioas, type IoasCopy, type IoasMapping, type UsableRange } from './iommufd/address-space.ts'
export { CdevDevice, type HardwareInfo, type HwptOptions, type NestedHwptOptions } from './iommufd/cdev-device.ts'
export { Iommufd } from './iommufd/iommufd.ts'
export { NestedHwpt } from './iommufd/nested-page-table.ts'
export { type PageRequestGroup, PageRequestQueue } from './iommufd/page-request-queue.ts'
export { Hwpt, type WrittenQuery } from './iommufd/page-table.ts'

export { Device, type DeviceEvents, type HeldGroup } from './device/device-handle.ts'
export { DeviceDmaLogging, DeviceFeatures, type FeatureAccess, type LoggedRange } from './device/device-features.ts'
export { adoptDma, shareDma } from './device/dma-share.ts'
export { EventFd } from './device/event-fd.ts'
export { DeviceLowPower } from './device/low-power.ts'
export type { HotResetDevice, HotResetProvider } from './device/hot-reset.ts'
export { Irq } from './device/irq.ts'
export type { IrqAction, IrqData } from './device/irq-request.ts'
export { IrqVectors } from './device/irq-vectors.ts'
export type * from './device/bus-driver-ops.ts'
export type * from './device/ops.ts'
export {
  PciModel,
  type IntxLine,
  type MessageInterrupts,
  type ModelInterrupts,
  type PciModelBar,
  type PciModelDescription,
  type PciModelDoorbell,
  type PciModelWindow,
} from './device/pci-model.ts'
export { checkFeature } from './device/feature.ts'
export { checkIrqSet, type IrqPayload } from './device/irq-set.ts'
export { Migration, MigrationTransfer } from './device/migration-handle.ts'
export { hasMigrationState, MigrationMachine, migrationPath, migrationStateName } from './device/migration-state.ts'
export { Region, type RegionMapRequest } from './device/region.ts'
export type { RegionCapabilities } from './device/region-capability.ts'
export { RegionMap, type Width } from './device/region-map.ts'
export type { Task } from './device/task.ts'
export type { ArgumentSource } from './files/argument.ts'
export type { Caller, MmapAccess, OpenFile } from './files/open-file.ts'
export { HostMemory, type AllocateOptions, type BufferPart, type ByteSource } from './memory/host-memory.ts'

export { UEVENT_ACTIONS, type UeventAction } from './sysfs/device-node.ts'
export type { SysfsAttribute, SysfsBinary, SysfsDirectory, SysfsLink, SysfsNode } from './sysfs/node.ts'
export type { RenderOptions } from './sysfs/render.ts'
export { SysfsTree, type SysfsChange, type SysfsStat, type SysfsStored } from './sysfs/tree.ts'

export { Kvm, KvmMachine, KvmVfio, type Descriptor } from './kvm/kvm.ts'
export { openKvm } from './kvm/linux-kvm.ts'

export { connect, type ConnectOptions } from './user/connect.ts'
export { RemoteDevice, type Doorbell, type RemoteMapping, type RemoteRange } from './user/remote-device.ts'
export { serve, type RegisteredDevice, type Servable, type ServableModel } from './user/serve.ts'
export { DeviceServer, type Client, type DeviceServerEvents, type ServeOptions } from './user/device-server.ts'

export * from './uapi/constants.ts'
export type { ErrnoName } from './uapi/errno.ts'
export { VfioError, isErrno, type VfioErrorDetails } from './errors.ts'
export type { U64 } from './shape.ts'
