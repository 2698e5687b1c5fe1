/** Arguments of ioctls: user memory of the caller, bytes of JavaScript that stand for it, or a bare number. */
import { bytesArgument } from '../device/bytes-argument.ts'
import type { IoctlArgument } from '../device/ops.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import type { NativeAddressSpace } from '../native/addon.ts'

/** What callers may pass: a number or address, the bytes themselves, or a string, which gets its terminating NUL. */
export type ArgumentSource = bigint | number | Uint8Array | string

/** Makes the argument that files take. @throws {TypeError} ERR_INVALID_ARG_TYPE */
export function ioctlArgument(source: ArgumentSource, mm: NativeAddressSpace): IoctlArgument {
  if (typeof source === 'string') return bytesArgument(new TextEncoder().encode(`${source}\0`))
  if (source instanceof Uint8Array) return bytesArgument(source)
  if (typeof source === 'bigint') return addressArgument(BigInt.asUintN(64, source), mm)
  if (typeof source === 'number' && Number.isSafeInteger(source))
    return addressArgument(BigInt.asUintN(64, BigInt(source)), mm)
  throw invalidArgType('argument', 'a bigint, a safe integer, a Uint8Array or a string', source)
}

function addressArgument(address: bigint, mm: NativeAddressSpace): IoctlArgument {
  return {
    value: address,
    read(length, offset = 0) {
      const into = new Uint8Array(length)
      const at = address + BigInt(offset)
      if (mm.read(BigInt.asUintN(64, at), into) < 0) throw fault(at)
      return into
    },
    write(data, offset = 0) {
      const at = address + BigInt(offset)
      if (mm.write(BigInt.asUintN(64, at), data) < 0) throw fault(at)
    },
  }
}

function fault(address: bigint): VfioError {
  return new VfioError('EFAULT', 'ioctl', { address })
}

/** Copies a signed 32-bit number in, such as a descriptor. @throws {VfioError} EFAULT */
export function readS32(argument: IoctlArgument, offset = 0): number {
  const bytes = argument.read(4, offset)
  return new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true)
}

const CHUNK = 64

/** Copies a NUL-terminated string in (`strndup_user`). @throws {VfioError} EFAULT, EINVAL `limit` bytes without a NUL */
export function readString(argument: IoctlArgument, limit: number): string {
  const bytes: number[] = []
  while (bytes.length < limit) {
    const chunk = readSome(argument, bytes.length)
    const end = chunk.indexOf(0)
    bytes.push(...(end < 0 ? chunk : chunk.subarray(0, end)))
    if (end >= 0 && bytes.length < limit) return new TextDecoder().decode(Uint8Array.from(bytes))
  }
  throw new VfioError('EINVAL', 'ioctl', { reason: `the string is longer than ${limit - 1} bytes` })
}

/** Reads a chunk, or a byte where less than a chunk is readable. */
function readSome(argument: IoctlArgument, offset: number): Uint8Array {
  try {
    return argument.read(CHUNK, offset)
  } catch {
    return argument.read(1, offset)
  }
}
