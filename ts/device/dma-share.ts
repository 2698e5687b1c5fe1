/** Giving a device's view of memory to other workers: the same core object, without a lock between them. */
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { u64 } from '../shape.ts'
import { Dma, nativeDma } from './dma.ts'
import type { DmaAccess } from './ops.ts'

/**
 * Makes a token by which one other worker of this process gets the same view, with {@link adoptDma}.
 *
 * It is a bigint, to be posted. A token that nobody takes holds the view until the process ends.
 * @throws {VfioError} EOPNOTSUPP a view that is not native, EBADF it was closed
 */
export function shareDma(dma: DmaAccess): bigint {
  const native = nativeDma(dma)
  return syscall('share', () => native.share())
}

/**
 * Takes the view that {@link shareDma} made a token for, once.
 *
 * It is the device's own view: a refused access shows up in the same fault log, and the view ends with the device.
 * @throws {TypeError} not a token
 * @throws {VfioError} EBADF unknown, or taken already
 */
export function adoptDma(token: bigint): DmaAccess {
  return new Dma(syscall('adopt', () => addon().NativeDma.adopt(u64(token, 'token'))))
}
