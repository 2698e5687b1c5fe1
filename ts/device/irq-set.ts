/**
 * The checks of `VFIO_DEVICE_SET_IRQS` that every device makes alike (`vfio_set_irqs_validate_and_prepare`).
 */
import { VfioError } from '../errors.ts'
import {
  VFIO_IRQ_SET_ACTION_TYPE_MASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_IRQ_SET_DATA_TYPE_MASK,
} from '../uapi/constants.ts'
import { vfioIrqSet } from '../uapi/structs.ts'
import type { IrqEventFds, IrqSetRequest } from './ops.ts'

/** Payload of a request: at most one of the two, as its flags say. */
export interface IrqPayload {
  /** A byte for each interrupt; empty where the flags say otherwise. */
  bools: Uint8Array
  eventfds: IrqEventFds | undefined
}

const U32_MAX = 0xffff_ffff
const NOTHING: IrqPayload = { bools: new Uint8Array(0), eventfds: undefined }

/**
 * Checks a request against `irqs` interrupts of its index and fetches its payload.
 *
 * @param indexes how many interrupt indexes the device has
 * @throws {VfioError} EINVAL a short argsz, an index beyond the last, start and count beyond 2^32, unknown flags; EINVAL
 *   interrupts beyond the last; EINVAL not exactly one kind of data; EINVAL a short payload; EFAULT
 */
export function checkIrqSet(request: IrqSetRequest, irqs: number, indexes: number): IrqPayload {
  const { argsz, flags, index, start, count } = request
  if (argsz < vfioIrqSet.size) throw invalid('argsz is less than the structure')
  if (index >= indexes) throw invalid(`there is no index ${index}`)
  if (count >= U32_MAX - start) throw invalid('start and count go beyond 2^32')
  if ((flags & ~(VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK)) !== 0) throw invalid('unknown flags')
  if (start >= irqs || start + count > irqs) throw invalid(`interrupts ${start} to ${start + count - 1} are not there`)
  switch (flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
    case VFIO_IRQ_SET_DATA_NONE:
      return NOTHING
    case VFIO_IRQ_SET_DATA_BOOL:
      checkPayload(argsz, count)
      return { ...NOTHING, bools: request.bools() }
    case VFIO_IRQ_SET_DATA_EVENTFD:
      checkPayload(argsz, count * 4)
      return { ...NOTHING, eventfds: request.eventfds() }
    default:
      throw invalid('the flags name no kind of data, or several')
  }
}

function checkPayload(argsz: number, needed: number): void {
  if (argsz - vfioIrqSet.size < needed)
    throw invalid(`the payload has ${needed} bytes, argsz leaves ${argsz - vfioIrqSet.size}`)
}

function invalid(reason: string): VfioError {
  return new VfioError('EINVAL', 'VFIO_DEVICE_SET_IRQS', { reason })
}
