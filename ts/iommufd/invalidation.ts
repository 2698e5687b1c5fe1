/** `IOMMU_HWPT_INVALIDATE`: a guest has changed its page table. */
import type { IoctlArgument } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { status } from '../native/syscall.ts'
import { iommuHwptInvalidate } from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import { HwptNested } from './nested-hwpt.ts'
import { INVALIDATION_SIZE, parseInvalidation, SOFTWARE_IOMMU_TYPE } from './software-iommu.ts'

const OPERATION = 'IOMMU_HWPT_INVALIDATE'
/** Bytes that are looked at in one go where an entry is longer than known. */
const CHUNK = 4096

/** Entries in user memory. */
interface Entries {
  readonly address: bigint
  readonly count: number
  readonly length: number
}

/**
 * Handles entries one after the other, and tells how many were handled, also where it refuses.
 * @throws {VfioError} EOPNOTSUPP, EINVAL, ENOENT, E2BIG, EFAULT
 */
export function hwptInvalidate(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const command = takeCommand(argument, iommuHwptInvalidate, OPERATION)
  const { __reserved, entryNum, entryLen, dataType, dataUptr, hwptId } = command.value
  let done = 0
  try {
    requireZero(__reserved, OPERATION)
    if (entryNum > 0 && (dataUptr === 0n || entryLen === 0)) {
      throw new VfioError('EINVAL', OPERATION, { reason: 'there are entries, and no place or size of them' })
    }
    const object = context.objects.get(hwptId, OPERATION)
    if (!(object instanceof HwptNested)) {
      throw new VfioError('EINVAL', OPERATION, {
        reason: `object ${hwptId} (${object.kind}) caches nothing for its user`,
      })
    }
    if (dataType !== SOFTWARE_IOMMU_TYPE) {
      throw new VfioError('EINVAL', OPERATION, {
        reason: `the IOMMU knows no entries of type 0x${dataType.toString(16)}`,
      })
    }
    const entries = { address: dataUptr, count: entryNum, length: entryLen }
    for (; done < entryNum; done++) invalidateEntry(object, entries, done, task)
  } finally {
    command.respond({ entryNum: done })
  }
}

function invalidateEntry(hwpt: HwptNested, { address, length }: Entries, index: number, task: Task): void {
  if (length < INVALIDATION_SIZE) {
    throw new VfioError('EINVAL', OPERATION, { reason: `an entry has ${INVALIDATION_SIZE} bytes, not ${length}` })
  }
  const at = BigInt.asUintN(64, address + BigInt(index) * BigInt(length))
  const entry = parseInvalidation(copyIn(task, at, INVALIDATION_SIZE))
  for (let more = INVALIDATION_SIZE; more < length; more += CHUNK) {
    const rest = copyIn(task, BigInt.asUintN(64, at + BigInt(more)), Math.min(CHUNK, length - more))
    if (rest.some((byte) => byte !== 0)) {
      throw new VfioError('E2BIG', OPERATION, { reason: 'an entry sets members that this version does not know' })
    }
  }
  if (entry === undefined) throw new VfioError('EOPNOTSUPP', OPERATION, { reason: 'an entry has unknown flags' })
  hwpt.invalidate(entry.iova, entry.pages)
}

function copyIn(task: Task, address: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  status(task.mm.read(address, bytes), OPERATION, { address })
  return bytes
}
