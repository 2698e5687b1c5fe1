/** The file `/dev/iommu`: an iommufd as bytes. */
import type { IoctlArgument, RegionMapping } from '../device/ops.ts'
import type { Caller, MmapAccess, OpenFile } from '../files/open-file.ts'
import type { GroupContainer } from '../group/vfio-group.ts'
import { CompatContainer } from '../iommufd/compat-container.ts'
import type { IommufdContext } from '../iommufd/context.ts'
import { iommufdIoctl } from '../iommufd/dispatch.ts'
import type { MachineIommu } from '../iommufd/hardware.ts'

/** An open iommufd. */
export class IommufdFile implements OpenFile {
  readonly kind = 'iommufd'
  readonly context: IommufdContext
  readonly groupContainer: GroupContainer

  constructor(context: IommufdContext, iommu: MachineIommu) {
    this.context = context
    this.groupContainer = new CompatContainer(context, iommu)
  }

  ioctl(caller: Caller, request: number, argument: IoctlArgument): number {
    return iommufdIoctl(this.context, request, argument, caller)
  }

  /** Maps registers of a virtual IOMMU. @throws {VfioError} EINVAL, EPERM, ENXIO */
  mmap(_caller: Caller, offset: bigint, length: bigint, access: MmapAccess): RegionMapping {
    return this.context.registers.map(offset, length, access)
  }

  release(): void {
    this.context.release()
  }
}
