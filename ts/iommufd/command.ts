/**
 * Commands as bytes: structures that grow with the kernel (`copy_struct_from_user`).
 *
 * `size` comes first. A shorter structure than the one known ends early, its other members being 0; a longer one is
 * taken if what is unknown is 0.
 */
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { Codec, Decoded, Fields } from '../uapi/codec.ts'

/** A structure that was copied in. */
export interface Command<F extends Fields> {
  readonly value: Decoded<F>
  /** Copies it out with members changed, as much of it as the caller knows. @throws {VfioError} EFAULT */
  respond(changes: Partial<Decoded<F>>): void
}

const CHUNK = 4096

/**
 * Copies a command in.
 * @throws {VfioError} EFAULT unreadable, EINVAL `size` less than `least`, E2BIG unknown bytes that are not 0
 */
export function takeCommand<F extends Fields>(
  argument: IoctlArgument,
  codec: Codec<F>,
  operation: string,
  least = codec.size,
): Command<F> {
  const head = argument.read(4)
  const size = new DataView(head.buffer, head.byteOffset).getUint32(0, true)
  if (size < least) {
    throw new VfioError('EINVAL', operation, { reason: `size is ${size}, ${codec.name} needs at least ${least}` })
  }
  const known = Math.min(size, codec.size)
  for (let at = codec.size; at < size; at += CHUNK) checkZero(argument, at, Math.min(CHUNK, size - at), operation)
  const bytes = new Uint8Array(codec.size)
  bytes.set(argument.read(known))
  return {
    value: codec.decode(bytes),
    respond(changes) {
      codec.encode(changes, bytes)
      argument.write(bytes.subarray(0, known))
    },
  }
}

function checkZero(argument: IoctlArgument, offset: number, length: number, operation: string): void {
  let bytes: Uint8Array
  try {
    bytes = argument.read(length, offset)
  } catch (error) {
    if (length === 1) throw error
    const half = length >> 1
    checkZero(argument, offset, half, operation)
    return checkZero(argument, offset + half, length - half, operation)
  }
  if (bytes.some((byte) => byte !== 0)) {
    throw new VfioError('E2BIG', operation, { reason: 'it sets members that this version does not know' })
  }
}

/** Refuses reserved members and unknown flags. @throws {VfioError} EOPNOTSUPP */
export function requireZero(bits: number, operation: string): void {
  if (bits !== 0) throw new VfioError('EOPNOTSUPP', operation, { reason: 'unknown flags, or a reserved member is set' })
}
