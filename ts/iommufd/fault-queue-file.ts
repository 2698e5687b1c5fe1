/** The files of queues of page requests, and the command that makes both. */
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import { iommuFaultAlloc, iommuHwptPageResponse, iommuHwptPgfault } from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import type { DescriptorFile, IommufdCaller } from './descriptor.ts'
import { FaultQueue } from './fault-queue.ts'

const POLLIN = 1
const POLLOUT = 4
const OPERATION = 'IOMMU_FAULT_QUEUE_ALLOC'

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

  /** Reads whole groups. @throws {VfioError} ESPIPE a position, or part of a request; EINVAL no room for the first group */
  read(_caller: unknown, into: Uint8Array, position: bigint | undefined): number {
    const { size } = iommuHwptPgfault
    requireWhole('read', into.byteLength, size, position)
    const bytes = this.#queue.read(into.byteLength / size)
    into.set(bytes)
    return bytes.byteLength
  }

  /** Answers groups. @throws {VfioError} ESPIPE a position, or part of an answer; EINVAL no such group or answer */
  write(_caller: unknown, from: Uint8Array, position: bigint | undefined): number {
    const { size } = iommuHwptPageResponse
    requireWhole('write', from.byteLength, size, position)
    let done = 0
    try {
      for (; done < from.byteLength; done += size) {
        const { cookie, code } = iommuHwptPageResponse.decode(from.subarray(done, done + size))
        this.#queue.answer(cookie, code)
      }
    } catch (error) {
      if (done === 0) throw error
    }
    return done
  }

  poll(): number {
    return POLLOUT | (this.#queue.native.readable() ? POLLIN : 0)
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
  giveFile(
    caller,
    file,
    () => context.objects.destroy(queue.id),
    (fd) => command.respond({ outFaultId: queue.id, outFaultFd: fd }),
  )
}

/** Gives the caller a file and tells it; what cannot be told is undone. @throws {VfioError} EMFILE, and as `tell` */
export function giveFile(
  caller: IommufdCaller,
  file: DescriptorFile,
  undo: () => void,
  tell: (fd: number) => void,
): void {
  let fd: number | undefined
  try {
    fd = caller.install(file)
    tell(fd)
  } catch (error) {
    if (fd === undefined) file.release?.()
    else caller.remove(fd)
    undo()
    throw error
  }
}
