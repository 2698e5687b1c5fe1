/** Queues of I/O page faults (`IOMMUFD_OBJ_FAULT`), and their files. */
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import { iommuFaultAlloc } from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import type { DescriptorFile, IommufdCaller } from './descriptor.ts'
import { IommufdObject } from './object.ts'

/** Sizes of `struct iommu_hwpt_pgfault` and `struct iommu_hwpt_page_response`. */
const FAULT_SIZE = 40
const RESPONSE_SIZE = 8
const POLLOUT = 4
const OPERATION = 'IOMMU_FAULT_QUEUE_ALLOC'

/** A queue of faults. The hardware here makes none: what is not mapped is refused, and logged. */
export class FaultQueue extends IommufdObject {
  readonly kind = 'fault'

  destroy(): void {}
}

/** The file of a queue, which keeps it. */
class FaultQueueFile implements DescriptorFile {
  readonly kind = 'iommufd-fault'
  readonly #context: IommufdContext
  readonly #queue: FaultQueue

  constructor(context: IommufdContext, queue: FaultQueue) {
    this.#context = context
    this.#queue = queue
    queue.hold()
    context.hold()
  }

  /** Reads whole faults. @throws {VfioError} ESPIPE a position, or part of a fault */
  read(_caller: unknown, into: Uint8Array, position: bigint | undefined): number {
    requireWhole('read', into.byteLength, FAULT_SIZE, position)
    return 0
  }

  /** Answers faults. @throws {VfioError} ESPIPE a position, or part of an answer; EINVAL no such fault */
  write(_caller: unknown, from: Uint8Array, position: bigint | undefined): number {
    requireWhole('write', from.byteLength, RESPONSE_SIZE, position)
    if (from.byteLength === 0) return 0
    const cookie = new DataView(from.buffer, from.byteOffset).getUint32(0, true)
    throw new VfioError('EINVAL', 'write', { reason: `no fault ${cookie} waits for an answer` })
  }

  poll(): number {
    return POLLOUT
  }

  release(): void {
    this.#queue.release()
    this.#context.release()
  }
}

function requireWhole(operation: string, length: number, unit: number, position: bigint | undefined): void {
  const somewhere = position !== undefined && position !== 0n
  if (!somewhere && length % unit === 0) return
  throw new VfioError('ESPIPE', operation, { reason: `a queue is a stream of ${unit} bytes each` })
}

/** `IOMMU_FAULT_QUEUE_ALLOC`. @throws {VfioError} EOPNOTSUPP, EMFILE, EFAULT */
export function faultQueueAlloc(context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const command = takeCommand(argument, iommuFaultAlloc, OPERATION)
  requireZero(command.value.flags, OPERATION)
  const queue = context.objects.add(new FaultQueue())
  const file = new FaultQueueFile(context, queue)
  let fd: number | undefined
  try {
    fd = caller.install(file)
    command.respond({ outFaultId: queue.id, outFaultFd: fd })
  } catch (error) {
    if (fd === undefined) file.release()
    else caller.remove(fd)
    context.objects.remove(queue)
    throw error
  }
}
