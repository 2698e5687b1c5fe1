/** The file `/dev/vfio/vfio`: a container as bytes. */
import type { VfioContainer } from '../container/vfio-container.ts'
import type { IoctlArgument } from '../device/ops.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import type { Caller, OpenFile } from './open-file.ts'

/** An open container. */
export class ContainerFile implements OpenFile {
  readonly kind = 'vfio-container'
  readonly groupContainer: VfioContainer

  constructor(container: VfioContainer) {
    this.groupContainer = container
  }

  ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    const container = this.groupContainer
    switch (request) {
      case IOCTL.VFIO_GET_API_VERSION:
        return container.apiVersion()
      case IOCTL.VFIO_CHECK_EXTENSION:
        return container.checkExtension(Number(argument.value))
      case IOCTL.VFIO_SET_IOMMU:
        container.setIommu(caller, Number(argument.value))
        return 0
      default:
        return container.ioctl(caller, request, argument)
    }
  }
}
