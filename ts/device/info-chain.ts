/**
 * The chain of capabilities behind an info structure, as bytes.
 *
 * Each is a `struct vfio_info_cap_header` (id, version, offset of the next from the start of the info structure) and its
 * payload; each starts on a multiple of 8. Source: `vfio_info_cap_add()`.
 */
import { vfioInfoCapHeader } from '../uapi/structs.ts'
import type { InfoCapability, IoctlArgument } from './ops.ts'

const ALIGN = 8

/** Encodes a chain that lies `base` bytes into the info structure. */
export function encodeInfoChain(capabilities: readonly InfoCapability[], base: number): Uint8Array {
  const sizes = capabilities.map(({ payload }) => aligned(vfioInfoCapHeader.size + payload.byteLength))
  const chain = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0))
  let at = 0
  capabilities.forEach(({ id, version, payload }, i) => {
    const end = at + (sizes[i] ?? 0)
    const next = i + 1 < capabilities.length ? base + end : 0
    vfioInfoCapHeader.encode({ id, version, next }, chain, at)
    chain.set(payload, at + vfioInfoCapHeader.size)
    at = end
  })
  return chain
}

/** Where a chain went: the `argsz` that the caller needs or passed, and `capOffset` (0: it did not fit). */
export interface PlacedChain {
  argsz: number
  capOffset: number
}

/**
 * Copies a chain out behind an info structure of `size` bytes, if the caller's `argsz` has room for all of it.
 *
 * With no room `argsz` tells what it takes. Without capabilities the answer is undefined and nothing is written.
 * @throws {VfioError} EFAULT
 */
export function writeInfoChain(
  argument: IoctlArgument,
  capabilities: readonly InfoCapability[] | undefined,
  argsz: number,
  size: number,
): PlacedChain | undefined {
  if (capabilities === undefined || capabilities.length === 0) return undefined
  const chain = encodeInfoChain(capabilities, size)
  const needed = size + chain.byteLength
  if (argsz < needed) return { argsz: needed, capOffset: 0 }
  argument.write(chain, size)
  return { argsz, capOffset: size }
}

function aligned(size: number): number {
  return Math.ceil(size / ALIGN) * ALIGN
}
