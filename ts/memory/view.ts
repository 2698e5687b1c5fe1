/**
 * Arrays over memory of this package's own, without a copy.
 *
 * Two ways. Memory behind a descriptor is put, page by page, in place of a `SharedArrayBuffer` that the engine made: to the
 * engine it is its own. Other memory takes an `ArrayBuffer` over it, which engines with a memory cage (Electron's) refuse.
 */
import { VfioError } from '../errors.ts'
import type { NativeMemory } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'

const OPERATION = 'HostMemory.view'

/** With a length that could change, a buffer has pages of its own, and begins with one. */
const SharedPages = SharedArrayBuffer as unknown as new (
  length: number,
  options: { maxByteLength: number },
) => SharedArrayBuffer

/**
 * Makes a buffer over all of `memory`.
 * @throws {VfioError} EOPNOTSUPP there is no way to, in this runtime; EBADF closed
 */
export function bufferOver(memory: NativeMemory): ArrayBuffer | SharedArrayBuffer {
  const cause = { why: undefined as unknown }
  if (syscall(OPERATION, () => memory.fd()) >= 0) {
    try {
      return sharedOver(memory)
    } catch (error) {
      cause.why = error
    }
  }
  const buffer = syscall(OPERATION, () => memory.externalBuffer())
  if (buffer !== undefined) return buffer
  throw new VfioError('EOPNOTSUPP', OPERATION, {
    reason: 'this runtime allows no buffer over memory that is not its own',
    remedy: "allocate memory of kind 'memfd' on Linux, or use read(), write() and the typed accessors",
    ...(cause.why === undefined ? {} : { cause: cause.why }),
  })
}

function sharedOver(memory: NativeMemory): SharedArrayBuffer {
  const buffer = new SharedPages(memory.length, { maxByteLength: memory.length })
  memory.mapOver(new Uint8Array(buffer, 0, memory.length))
  return buffer
}
