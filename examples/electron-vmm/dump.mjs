/** Bytes as people read them. */

const WIDTH = 16

/**
 * Shows bytes in lines of sixteen, with their addresses.
 * @param {Uint8Array} bytes
 * @param {number} first
 */
export function dump(bytes, first = 0) {
  const lines = []
  for (let at = 0; at < bytes.length; at += WIDTH) {
    const line = [...bytes.subarray(at, at + WIDTH)]
    const numbers = line.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const letters = line.map((byte) => (byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('')
    lines.push(`${(first + at).toString(16).padStart(8, '0')}  ${numbers.padEnd(3 * WIDTH - 1)}  ${letters}`)
  }
  return lines.join('\n')
}
