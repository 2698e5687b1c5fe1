/** Eventfds by descriptor. */
import type { EventTarget64 } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { Caller } from './open-file.ts'

/** Looks an eventfd up. @throws {VfioError} EBADF not open, EINVAL no eventfd */
export function eventOf(caller: Caller, fd: number, operation: string): EventTarget64 {
  const file = caller.file(fd)
  if (file === undefined) throw new VfioError('EBADF', operation, { reason: `descriptor ${fd} is not open` })
  if (file.event === undefined) throw new VfioError('EINVAL', operation, { reason: `descriptor ${fd} is no eventfd` })
  return file.event()
}
