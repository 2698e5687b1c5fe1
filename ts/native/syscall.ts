/** Where refusals of the addon become {@link VfioError}s; nowhere else are native errors translated. */
import { isErrno, VfioError, type VfioErrorDetails } from '../errors.ts'

/** Runs `fn`, a native call that throws, as the operation `name`. @throws {VfioError} where the native call refuses */
export function syscall<T>(name: string, fn: () => T, details?: VfioErrorDetails): T {
  try {
    return fn()
  } catch (cause) {
    if (cause instanceof VfioError || !isErrno(cause)) throw cause
    throw new VfioError(cause.code, name, { ...details, cause })
  }
}

/** Passes the value of a native status on. @throws {VfioError} where it is a negated errno */
export function status(ret: number, name: string, details?: VfioErrorDetails): number
export function status(ret: bigint, name: string, details?: VfioErrorDetails): bigint
export function status(ret: number | bigint, name: string, details?: VfioErrorDetails): number | bigint {
  if (ret < 0) throw VfioError.fromStatus(Number(ret), name, details)
  return ret
}
