/** Commands on objects in general: `IOMMU_DESTROY`, `IOMMU_OPTION`, `IOMMU_VFIO_IOAS`. */
import type { IoctlArgument } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { syscall } from '../native/syscall.ts'
import {
  IOMMU_OPTION_HUGE_PAGES,
  IOMMU_OPTION_OP_GET,
  IOMMU_OPTION_OP_SET,
  IOMMU_OPTION_RLIMIT_MODE,
  IOMMU_VFIO_IOAS_CLEAR,
  IOMMU_VFIO_IOAS_GET,
  IOMMU_VFIO_IOAS_SET,
} from '../uapi/constants.ts'
import { iommuDestroy, iommuOption, iommuVfioIoas } from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'

const OPTION = 'IOMMU_OPTION'

/** `IOMMU_DESTROY`. @throws {VfioError} ENOENT, EBUSY */
export function destroy(context: IommufdContext, argument: IoctlArgument): void {
  context.objects.destroy(takeCommand(argument, iommuDestroy, 'IOMMU_DESTROY').value.id)
}

/** `IOMMU_OPTION`. @throws {VfioError} EOPNOTSUPP, EPERM, EBUSY, EINVAL, ENOENT, EADDRINUSE, EFAULT */
export function option(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const command = takeCommand(argument, iommuOption, OPTION)
  const { optionId, op, __reserved, objectId, val64 } = command.value
  requireZero(__reserved, OPTION)
  switch (optionId) {
    case IOMMU_OPTION_RLIMIT_MODE:
      command.respond({ val64: rlimitMode(context, task, op, objectId, val64) })
      return
    case IOMMU_OPTION_HUGE_PAGES:
      command.respond({ val64: hugePages(context, op, objectId, val64) })
      return
    default:
      throw new VfioError('EOPNOTSUPP', OPTION, { reason: `there is no option ${optionId}` })
  }
}

function rlimitMode(context: IommufdContext, task: Task, op: number, objectId: number, value: bigint): bigint {
  if (objectId !== 0) throw new VfioError('EOPNOTSUPP', OPTION, { reason: 'the limit is one for all objects' })
  if (op === IOMMU_OPTION_OP_GET) return context.chargeProcess ? 1n : 0n
  requireOp(op, IOMMU_OPTION_OP_SET)
  if (!task.capable('CAP_SYS_RESOURCE')) throw new VfioError('EPERM', OPTION, { reason: 'it takes CAP_SYS_RESOURCE' })
  if (!context.objects.empty) {
    throw new VfioError('EBUSY', OPTION, { reason: 'there are objects', remedy: 'set it before making any' })
  }
  context.chargeProcess = onOrOff(value)
  return value
}

function hugePages(context: IommufdContext, op: number, objectId: number, value: bigint): bigint {
  const { native } = context.ioas(objectId, OPTION)
  if (op === IOMMU_OPTION_OP_GET) return native.largePages() ? 1n : 0n
  requireOp(op, IOMMU_OPTION_OP_SET)
  const large = onOrOff(value)
  syscall(OPTION, () => native.setLargePages(large))
  return value
}

function requireOp(op: number, wanted: number): void {
  if (op !== wanted) throw new VfioError('EOPNOTSUPP', OPTION, { reason: `there is no operation ${op}` })
}

function onOrOff(value: bigint): boolean {
  if (value === 0n || value === 1n) return value === 1n
  throw new VfioError('EINVAL', OPTION, { reason: `${value} is neither 0 nor 1` })
}

/** `IOMMU_VFIO_IOAS`. @throws {VfioError} EOPNOTSUPP, ENODEV none is set, ENOENT, EFAULT */
export function vfioIoas(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_VFIO_IOAS'
  const command = takeCommand(argument, iommuVfioIoas, operation)
  const { __reserved, op, ioasId } = command.value
  requireZero(__reserved, operation)
  switch (op) {
    case IOMMU_VFIO_IOAS_GET:
      command.respond({ ioasId: context.requireCompat(operation).id })
      return
    case IOMMU_VFIO_IOAS_SET:
      context.compat = context.ioas(ioasId, operation)
      return
    case IOMMU_VFIO_IOAS_CLEAR:
      context.compat = undefined
      return
    default:
      throw new VfioError('EOPNOTSUPP', operation, { reason: `there is no operation ${op}` })
  }
}
