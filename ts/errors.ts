/**
 * Errors of the package: one class for refused operations, one pair of functions for wrong shapes.
 *
 * A value of the wrong shape is a `TypeError` with an `ERR_*` code at the call; a value of the wrong meaning is a
 * {@link VfioError} that names the operation, the address where there is one, and the remedy where there is one.
 */
import { inspect } from 'node:util'
import { ERRNO, errnoName, errnoText, type ErrnoName } from './uapi/errno.ts'

/** What a {@link VfioError} carries beside its errno. */
export interface VfioErrorDetails {
  /** DMA or user address that the operation stumbled over. */
  address?: bigint
  /** Path of the file or sysfs attribute concerned. */
  path?: string
  /** What was wrong, in one clause. */
  reason?: string
  /** What the caller can do about it, in one clause. */
  remedy?: string
  /** Error that led to this one. */
  cause?: unknown
}

/**
 * A refused operation, in the manner of Node's system errors.
 *
 * Match on `code` rather than on the class: errors may cross package copies.
 */
export class VfioError extends Error {
  /** Name of the errno, such as `'EINVAL'`. */
  readonly code: ErrnoName
  /** Negated Linux errno, as Node's system errors have it. */
  readonly errno: number
  /** The ioctl or operation that was refused. */
  readonly syscall: string
  /** DMA or user address concerned. */
  readonly address?: bigint
  /** Path concerned. */
  readonly path?: string
  /** What to do about it. */
  readonly remedy?: string

  constructor(code: ErrnoName, syscall: string, details: VfioErrorDetails = {}) {
    const at = details.address === undefined ? '' : ` at 0x${details.address.toString(16)}`
    const path = details.path === undefined ? '' : ` '${details.path}'`
    const why = details.reason === undefined ? '' : `: ${details.reason}`
    const remedy = details.remedy === undefined ? '' : `; ${details.remedy}`
    super(
      `${code}: ${errnoText(code)}, ${syscall}${at}${path}${why}${remedy}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    )
    this.name = 'VfioError'
    this.code = code
    this.errno = -ERRNO[code]
    this.syscall = syscall
    if (details.address !== undefined) this.address = details.address
    if (details.path !== undefined) this.path = details.path
    if (details.remedy !== undefined) this.remedy = details.remedy
  }

  /** Makes the error that a negative native status stands for. */
  static fromStatus(status: number, syscall: string, details?: VfioErrorDetails): VfioError {
    return new VfioError(errnoName(-status) ?? 'EIO', syscall, details)
  }
}

/** Tells whether `error` is an errno of this package (or of Node) with that code. */
export function isErrno(error: unknown, code?: ErrnoName): error is VfioError {
  if (!(error instanceof Error)) return false
  const own = (error as Partial<VfioError>).code
  return typeof own === 'string' && own in ERRNO && (code === undefined || own === code)
}

/** Makes the `TypeError` for an argument of the wrong type. */
export function invalidArgType(name: string, expected: string, actual: unknown): TypeError {
  const got = actual === null ? 'null' : typeof actual === 'object' ? describeObject(actual) : `type ${typeof actual}`
  return Object.assign(new TypeError(`The "${name}" argument must be ${expected}. Received ${got}`), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

/** Makes the `TypeError` for an argument of the right type and a senseless value. */
export function invalidArgValue(name: string, reason: string): TypeError {
  return Object.assign(new TypeError(`The "${name}" argument ${reason}`), { code: 'ERR_INVALID_ARG_VALUE' })
}

/** Makes the `RangeError` for a number outside what its type can hold. */
export function outOfRange(name: string, range: string, actual: unknown): RangeError {
  return Object.assign(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${shown(actual)}`),
    {
      code: 'ERR_OUT_OF_RANGE',
    },
  )
}

/** Warns of what a device model has thrown where nobody can be told: a warning of the process, `DeviceModelWarning`. */
export function warnOfModel(error: unknown): undefined {
  const why = error instanceof Error ? error.message : inspect(error)
  const warning = new Error(`a device model failed: ${why}`, { cause: error })
  warning.name = 'DeviceModelWarning'
  process.emitWarning(warning)
}

/** Writes any value for a message. */
export function shown(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : inspect(value, { depth: 0, breakLength: Infinity })
}

function describeObject(value: object): string {
  const { constructor } = value as { constructor?: unknown }
  return typeof constructor === 'function' ? `an instance of ${constructor.name}` : 'an object'
}
