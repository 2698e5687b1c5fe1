/** UUIDs of mediated devices, as the `create` attribute takes them. */
import { VfioError } from '../errors.ts'

const LENGTH = 36
const FORM = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** Gives the one form of a UUID, in lower case. @throws {VfioError} EINVAL no UUID */
export function canonicalUuid(text: string): string {
  const uuid = text.toLowerCase()
  if (!FORM.test(uuid)) throw new VfioError('EINVAL', 'mdev_create', { reason: `'${text}' is no UUID` })
  return uuid
}

/**
 * Reads a UUID from what was written to `create`: 36 bytes, or 37 of which the last may be anything.
 * @throws {VfioError} EINVAL
 */
export function writtenUuid(text: string): string {
  const length = new TextEncoder().encode(text).byteLength
  if (length !== LENGTH && length !== LENGTH + 1) {
    throw new VfioError('EINVAL', 'write', { reason: `${length} bytes were written; a UUID has ${LENGTH}` })
  }
  return canonicalUuid(text.slice(0, LENGTH))
}
