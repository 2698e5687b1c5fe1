/** How the sample drivers take an access to their device file: in naturally aligned pieces of 4, 2 and 1 bytes. */

/** Runs `access` for each piece of `bytes` from `position` on, and returns the number of bytes. */
export function inPieces(
  position: bigint,
  bytes: Uint8Array,
  access: (position: bigint, piece: Uint8Array) => void,
): number {
  let at = position
  for (let done = 0; done < bytes.length;) {
    const width = widthOf(at, bytes.length - done)
    access(at, bytes.subarray(done, done + width))
    at += BigInt(width)
    done += width
  }
  return bytes.length
}

/** Value of a piece, little endian. */
export function valueOf(piece: Uint8Array): number {
  return piece.reduce((value, byte, i) => value + byte * 2 ** (8 * i), 0)
}

function widthOf(at: bigint, rest: number): 1 | 2 | 4 {
  if (rest >= 4 && (at & 3n) === 0n) return 4
  return rest >= 2 && (at & 1n) === 0n ? 2 : 1
}
