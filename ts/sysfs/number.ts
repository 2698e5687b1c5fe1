/** Numbers in what is written to attributes. */
import { VfioError } from '../errors.ts'

/**
 * Reads an unsigned number as `kstrtoul(text, 0)` does: decimal, `0x` hexadecimal or `0` octal, one newline behind it at most.
 * @throws {VfioError} EINVAL no number, ERANGE more than 64 bits
 */
export function parseNumber(text: string, path: string): bigint {
  const nul = text.indexOf('\0')
  const parts = /^\+?(?:0[xX]([0-9a-fA-F]+)|0([0-7]+)|([1-9][0-9]*|0))\n?$/.exec(nul < 0 ? text : text.slice(0, nul))
  if (!parts) throw new VfioError('EINVAL', 'write', { path, reason: 'no number' })
  const [, hexadecimal, octal, decimal] = parts
  const value = BigInt(
    hexadecimal !== undefined ? `0x${hexadecimal}` : octal !== undefined ? `0o${octal}` : (decimal as string),
  )
  if (value > 0xffff_ffff_ffff_ffffn) throw new VfioError('ERANGE', 'write', { path })
  return value
}

/**
 * Reads a truth value as `kstrtobool` does: by its first character, or its first two.
 * @throws {VfioError} EINVAL
 */
export function parseBool(text: string, path: string): boolean {
  const word = text.slice(0, 2).toLowerCase()
  if (/^[1yt]/.test(word) || word === 'on') return true
  if (/^[0nf]/.test(word) || word === 'of') return false
  throw new VfioError('EINVAL', 'write', { path, reason: 'no truth value' })
}
