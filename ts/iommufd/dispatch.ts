/** Which command a request is. */
import type { IoctlArgument } from '../device/ops.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { compatIoctl } from './compat.ts'
import type { IommufdContext } from './context.ts'
import type { IommufdCaller } from './descriptor.ts'
import { faultQueueAlloc } from './fault-queue-file.ts'
import { getDirtyBitmap, getHwInfo, hwptAlloc, setDirtyTracking } from './hwpt-commands.ts'
import {
  ioasAlloc,
  ioasAllowIovas,
  ioasChangeProcess,
  ioasCopy,
  ioasIovaRanges,
  ioasMap,
  ioasMapFile,
  ioasNoiommuGetPa,
  ioasUnmap,
} from './ioas-commands.ts'
import { destroy, option, vfioIoas } from './object-commands.ts'
import { testCommand } from './test-command.ts'
import { hwptInvalidate, hwQueueAlloc, vdeviceAlloc, veventqAlloc, viommuAlloc } from './viommu-commands.ts'

type CommandRunner = (context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller) => void

const COMMANDS: ReadonlyMap<number, CommandRunner> = new Map<number, CommandRunner>([
  [IOCTL.IOMMU_DESTROY, destroy],
  [IOCTL.IOMMU_IOAS_ALLOC, ioasAlloc],
  [IOCTL.IOMMU_IOAS_ALLOW_IOVAS, ioasAllowIovas],
  [IOCTL.IOMMU_IOAS_COPY, ioasCopy],
  [IOCTL.IOMMU_IOAS_IOVA_RANGES, ioasIovaRanges],
  [IOCTL.IOMMU_IOAS_MAP, ioasMap],
  [IOCTL.IOMMU_IOAS_UNMAP, ioasUnmap],
  [IOCTL.IOMMU_OPTION, option],
  [IOCTL.IOMMU_VFIO_IOAS, vfioIoas],
  [IOCTL.IOMMU_HWPT_ALLOC, hwptAlloc],
  [IOCTL.IOMMU_GET_HW_INFO, getHwInfo],
  [IOCTL.IOMMU_HWPT_SET_DIRTY_TRACKING, setDirtyTracking],
  [IOCTL.IOMMU_HWPT_GET_DIRTY_BITMAP, getDirtyBitmap],
  [IOCTL.IOMMU_IOAS_MAP_FILE, ioasMapFile],
  [IOCTL.IOMMU_IOAS_CHANGE_PROCESS, ioasChangeProcess],
  [IOCTL.IOMMU_IOAS_NOIOMMU_GET_PA, ioasNoiommuGetPa],
  [IOCTL.IOMMU_FAULT_QUEUE_ALLOC, faultQueueAlloc],
  [IOCTL.IOMMU_HWPT_INVALIDATE, hwptInvalidate],
  [IOCTL.IOMMU_VIOMMU_ALLOC, viommuAlloc],
  [IOCTL.IOMMU_VDEVICE_ALLOC, vdeviceAlloc],
  [IOCTL.IOMMU_VEVENTQ_ALLOC, veventqAlloc],
  [IOCTL.IOMMU_HW_QUEUE_ALLOC, hwQueueAlloc],
])

/** Sends a request to an iommufd. @throws {VfioError} ENOTTY unknown, and what the command refuses with */
export function iommufdIoctl(
  context: IommufdContext,
  request: number,
  argument: IoctlArgument,
  caller: IommufdCaller,
): number {
  if (request === IOCTL.IOMMU_TEST_CMD && context.tests) {
    testCommand(context, argument, caller)
    return 0
  }
  const command = COMMANDS.get(request)
  if (command !== undefined) {
    command(context, argument, caller)
    return 0
  }
  return compatIoctl(context, request, argument, caller)
}
