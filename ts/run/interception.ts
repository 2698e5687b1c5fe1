/**
 * Requests that may return descriptors. They stop before the kernel passes them on, so that a descriptor can be put into the
 * caller's table; all others go through the file system.
 */
import { IOCTL } from '../uapi/ioctl.ts'

/** Their numbers. */
export const givesDescriptor: readonly number[] = [
  IOCTL.VFIO_GROUP_GET_DEVICE_FD,
  IOCTL.VFIO_DEVICE_FEATURE,
  IOCTL.VFIO_DEVICE_GET_GFX_DMABUF,
  IOCTL.IOMMU_FAULT_QUEUE_ALLOC,
  IOCTL.IOMMU_VEVENTQ_ALLOC,
  IOCTL.IOMMU_TEST_CMD,
]
