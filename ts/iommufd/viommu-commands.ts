/**
 * Commands on virtual IOMMUs and on nested page tables, as far as they go without hardware that has any: what is asked is
 * judged as always, and then there is no such object.
 */
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  IOMMU_HW_QUEUE_TYPE_DEFAULT,
  IOMMU_VEVENTQ_TYPE_DEFAULT,
  IOMMU_VIOMMU_TYPE_DEFAULT,
} from '../uapi/constants.ts'
import {
  iommuHwptInvalidate,
  iommuHwQueueAlloc,
  iommuVdeviceAlloc,
  iommuVeventqAlloc,
  iommuViommuAlloc,
} from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import { IommufdDevice } from './device.ts'

/** The structures as they were at first; what came later may be missing. */
const VIOMMU_ALLOC_LEAST = 24
const VEVENTQ_ALLOC_LEAST = 28
const U64_MAX = 0xffff_ffff_ffff_ffffn

/** `IOMMU_HWPT_INVALIDATE`: tells how many entries were handled, also where it refuses. @throws {VfioError} EOPNOTSUPP, EINVAL, ENOENT */
export function hwptInvalidate(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_HWPT_INVALIDATE'
  const command = takeCommand(argument, iommuHwptInvalidate, operation)
  const { __reserved, entryNum, entryLen, dataUptr, hwptId } = command.value
  command.respond({ entryNum: 0 })
  requireZero(__reserved, operation)
  if (entryNum > 0 && (dataUptr === 0n || entryLen === 0)) {
    throw new VfioError('EINVAL', operation, { reason: 'there are entries, and no place or size of them' })
  }
  const object = context.objects.get(hwptId, operation)
  throw new VfioError('EINVAL', operation, { reason: `object ${hwptId} (${object.kind}) caches nothing for its user` })
}

/** `IOMMU_VIOMMU_ALLOC`. @throws {VfioError} EOPNOTSUPP, ENOENT */
export function viommuAlloc(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_VIOMMU_ALLOC'
  const { flags, type, devId } = takeCommand(argument, iommuViommuAlloc, operation, VIOMMU_ALLOC_LEAST).value
  requireZero(flags, operation)
  requireType(type, IOMMU_VIOMMU_TYPE_DEFAULT, operation)
  context.objects.getOf(devId, IommufdDevice, operation)
  throw new VfioError('EOPNOTSUPP', operation, { reason: 'the hardware has no virtual IOMMUs' })
}

/** `IOMMU_VDEVICE_ALLOC`. @throws {VfioError} ENOENT */
export function vdeviceAlloc(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_VDEVICE_ALLOC'
  throw noVirtualIommu(context, takeCommand(argument, iommuVdeviceAlloc, operation).value.viommuId, operation)
}

/** `IOMMU_VEVENTQ_ALLOC`. @throws {VfioError} EOPNOTSUPP, EINVAL, ENOENT */
export function veventqAlloc(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_VEVENTQ_ALLOC'
  const { flags, __reserved, type, veventqDepth, viommuId } = takeCommand(
    argument,
    iommuVeventqAlloc,
    operation,
    VEVENTQ_ALLOC_LEAST,
  ).value
  requireZero(flags | __reserved, operation)
  requireType(type, IOMMU_VEVENTQ_TYPE_DEFAULT, operation)
  if (veventqDepth === 0) throw new VfioError('EINVAL', operation, { reason: 'the queue has no room' })
  throw noVirtualIommu(context, viommuId, operation)
}

/** `IOMMU_HW_QUEUE_ALLOC`. @throws {VfioError} EOPNOTSUPP, EINVAL, EOVERFLOW, ENOENT */
export function hwQueueAlloc(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_HW_QUEUE_ALLOC'
  const { flags, type, length, nestingParentIova, viommuId } = takeCommand(argument, iommuHwQueueAlloc, operation).value
  requireZero(flags, operation)
  requireType(type, IOMMU_HW_QUEUE_TYPE_DEFAULT, operation)
  if (length === 0n) throw new VfioError('EINVAL', operation, { reason: 'the queue has no memory' })
  if (nestingParentIova > U64_MAX - (length - 1n)) {
    throw new VfioError('EOVERFLOW', operation, { address: nestingParentIova, reason: 'the range wraps around' })
  }
  throw noVirtualIommu(context, viommuId, operation)
}

function requireType(type: number, none: number, operation: string): void {
  if (type === none) throw new VfioError('EOPNOTSUPP', operation, { reason: 'it is asked for no kind' })
}

function noVirtualIommu(context: IommufdContext, id: number, operation: string): VfioError {
  const { kind } = context.objects.get(id, operation)
  return new VfioError('ENOENT', operation, { reason: `object ${id} is of kind ${kind}` })
}
