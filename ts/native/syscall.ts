/** Where refusals of the addon become {@link VfioError}s; nowhere else are native errors translated. */
import { isErrno, VfioError, type VfioErrorDetails } from '../errors.ts'
import type { ErrnoName } from '../uapi/errno.ts'

/** What to say of a refusal: known beforehand, or looked for once there is one. */
export type Details = VfioErrorDetails | ((code: ErrnoName) => VfioErrorDetails)

/** Runs `fn`, a native call that throws, as the operation `name`. @throws {VfioError} where the native call refuses */
export function syscall<T>(name: string, fn: () => T, details: Details = {}): T {
  try {
    return fn()
  } catch (cause) {
    throw translated(cause, name, details)
  }
}

/** Waits for what `start`, a native call, promises. @throws {VfioError} by rejection, where the native call refuses */
export async function later<T>(name: string, start: () => Promise<T>, details: Details = {}): Promise<T> {
  try {
    return await start()
  } catch (cause) {
    throw translated(cause, name, details)
  }
}

function translated(cause: unknown, name: string, details: Details): unknown {
  if (cause instanceof VfioError || !isErrno(cause)) return cause
  const known = typeof details === 'function' ? details(cause.code) : details
  return new VfioError(cause.code, name, { ...known, cause })
}

/** Passes the value of a native status on. @throws {VfioError} where it is a negated errno */
export function status(ret: number, name: string, details?: VfioErrorDetails): number
export function status(ret: bigint, name: string, details?: VfioErrorDetails): bigint
export function status(ret: number | bigint, name: string, details?: VfioErrorDetails): number | bigint {
  if (ret < 0) throw VfioError.fromStatus(Number(ret), name, details)
  return ret
}
