/**
 * VFIO as it was proposed in November 2011, over the same groups, IOMMU and devices as today's: groups that merge, an IOMMU that has
 * a file of its own, eventfds set directly.
 *
 * {@link Vfio2011} gives a machine that core; its files under `/dev/vfio` take the requests and structures of that header, which are
 * here as data too. Many of its names mean something else in `vfio` and `vfio/uapi`: import from one of them by name.
 *
 * @module vfio/2011
 */
export { Vfio2011, type Vfio2011Options } from './core.ts'
export type { DeviceOps, MachineDevice } from './device-ops.ts'
export { deviceRequests } from './device-requests.ts'
export { Device, type DeviceEvents } from './device.ts'
export { Group } from './group.ts'
export { Iommu, type DmaMapping } from './iommu.ts'
export type { IommuInfo } from './iommu-session.ts'
export * from '../uapi/2011/constants.ts'
export * from '../uapi/2011/ioctl.ts'
export * from '../uapi/2011/structs.ts'
