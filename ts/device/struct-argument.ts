/** Structures in ioctl arguments, taken as drivers take them: a least size first, then `argsz`. */
import { VfioError } from '../errors.ts'
import type { Codec, Decoded, Fields } from '../uapi/codec.ts'
import type { IoctlArgument } from './ops.ts'

/**
 * Copies the first `minsz` bytes of a structure in; members behind them are 0.
 * @throws {VfioError} EFAULT unreadable, EINVAL `argsz` less than `minsz`
 */
export function readStruct<F extends Fields>(
  argument: IoctlArgument,
  codec: Codec<F>,
  minsz: number,
  operation: string,
): Decoded<F> {
  const bytes = new Uint8Array(codec.size)
  bytes.set(argument.read(minsz))
  const argsz = new DataView(bytes.buffer).getUint32(0, true)
  if (argsz < minsz) {
    throw new VfioError('EINVAL', operation, { reason: `argsz is ${argsz}, ${codec.name} needs at least ${minsz}` })
  }
  return codec.decode(bytes)
}

/** Copies a structure out, `length` bytes of it (default all). @throws {VfioError} EFAULT */
export function writeStruct<F extends Fields>(
  argument: IoctlArgument,
  codec: Codec<F>,
  value: Partial<Decoded<F>>,
  length = codec.size,
): void {
  argument.write(codec.bytes(value).subarray(0, length))
}

/** Offset of the first byte behind the member `cName`. */
export function endOf(codec: Codec, cName: string): number {
  const field = codec.fields[cName]
  if (field === undefined) throw new Error(`${codec.name} has no member ${cName}`)
  return field.offset + (field.count || 1) * (Number(field.type.slice(1)) / 8)
}
