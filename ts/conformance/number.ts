/** Numbers and bytes as vectors write them. */
import type { Numeric } from './scenario.ts'

/** Reads a number of any size. @throws {Error} not a number */
export function big(value: unknown): bigint {
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value)
  if (typeof value === 'string') {
    const negative = value.startsWith('-')
    const digits = negative ? value.slice(1) : value
    if (/^(0x[0-9a-f]+|0o[0-7]+|[0-9]+)$/i.test(digits)) return negative ? -BigInt(digits) : BigInt(digits)
  }
  throw new Error(`not a number: ${JSON.stringify(value)}`)
}

/** Reads a number that fits a JavaScript number. */
export function small(value: unknown): number {
  return Number(big(value))
}

/** Reads an optional number. */
export function smallOr(value: Numeric | undefined, absent: number): number {
  return value === undefined ? absent : small(value)
}

/** Writes a 64-bit quantity as vectors do. */
export function hex(value: bigint | number): string {
  return value < 0 ? `-0x${(-BigInt(value)).toString(16)}` : `0x${value.toString(16)}`
}

/** Reads a hex string of bytes. */
export function bytesOf(value: unknown): Uint8Array {
  if (typeof value !== 'string' || !/^([0-9a-f]{2})*$/i.test(value))
    throw new Error(`not hex bytes: ${JSON.stringify(value)}`)
  return Uint8Array.from(Buffer.from(value, 'hex'))
}

/** Writes bytes as a hex string. */
export function hexBytes(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')
}
