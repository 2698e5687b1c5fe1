/**
 * Logging of a device's DMA: the checks that the core makes before the device's `dmaLogging` callbacks run.
 *
 * Source: `VFIO_DEVICE_FEATURE_DMA_LOGGING_START`, `_STOP` and `_REPORT`.
 */
import { VfioError } from '../errors.ts'
import type { DmaLoggingOps } from './ops.ts'

const U64_MAX = 0xffff_ffff_ffff_ffffn
/** As many ranges as a page holds. */
const MAX_RANGES = 256
const CHUNK = 4096

/** A range of device addresses in bytes. */
export interface DmaRange {
  iova: bigint
  length: bigint
}

/** Where dirty bits go: bit 0 of byte 0 is the first page. Bits are or-ed in. @throws {VfioError} EFAULT */
export interface DirtyBits {
  read(offset: bigint, into: Uint8Array): void
  write(offset: bigint, from: Uint8Array): void
}

/**
 * Starts logging; returns the page size that the device chose.
 *
 * @param count number of ranges, judged before any range is looked at; `ranges` may be lazy.
 * @throws {VfioError} EINVAL no ranges, E2BIG over 256, then for each range EINVAL not page aligned, EOVERFLOW, EINVAL
 *   overlapping, then what the device throws
 */
export function startDmaLogging(
  log: DmaLoggingOps,
  count: number,
  ranges: Iterable<DmaRange>,
  pageSize: bigint,
): bigint {
  const refuse = (code: 'EINVAL' | 'E2BIG' | 'EOVERFLOW', reason: string, address?: bigint) =>
    new VfioError(code, 'VFIO_DEVICE_FEATURE_DMA_LOGGING_START', {
      reason,
      ...(address === undefined ? {} : { address }),
    })
  if (count === 0) throw refuse('EINVAL', 'no ranges')
  if (count > MAX_RANGES) throw refuse('E2BIG', `${count} ranges; ${MAX_RANGES} are the most`)
  const mask = BigInt.asUintN(64, pageSize - 1n)
  const taken: DmaRange[] = []
  for (const { iova, length } of ranges) {
    if ((iova & mask) !== 0n || (length & mask) !== 0n) throw refuse('EINVAL', 'a range is not page aligned', iova)
    if (iova + length > U64_MAX) throw refuse('EOVERFLOW', 'a range ends beyond 2^64', iova)
    if (taken.some((other) => overlap(other, { iova, length }))) throw refuse('EINVAL', 'ranges overlap', iova)
    taken.push({ iova, length })
  }
  return log.start(taken, pageSize)
}

/**
 * Reports the pages written since the last report and or-es their bits into `bits`.
 *
 * @throws {VfioError} EINVAL a page size below 4096 or no power of two, EOVERFLOW, EFAULT where a bit cannot be stored, and
 *   what the device throws
 */
export function reportDirtyPages(log: DmaLoggingOps, range: DmaRange, pageSize: bigint, bits: DirtyBits): void {
  const name = 'VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT'
  if (pageSize < 4096n || (pageSize & (pageSize - 1n)) !== 0n) {
    throw new VfioError('EINVAL', name, { reason: `a page size of ${pageSize} is not a power of two from 4096 on` })
  }
  if (range.iova + range.length > U64_MAX) {
    throw new VfioError('EOVERFLOW', name, { address: range.iova, reason: 'the range ends beyond 2^64' })
  }
  if (range.length === 0n) return
  log.readAndClear(range.iova, range.length, (iova, length) => {
    const first = iova > range.iova ? iova - range.iova : 0n
    const end = iova + length < range.iova + range.length ? iova + length - range.iova : range.length
    if (first < end) setBits(bits, first / pageSize, (end - 1n) / pageSize)
  })
}

/** Two ranges share a byte; an empty one reaches back to the byte before it, as the interval tree of the kernel has it. */
function overlap(a: DmaRange, b: DmaRange): boolean {
  const lastOf = ({ iova, length }: DmaRange) => BigInt.asUintN(64, iova + length - 1n)
  return a.iova <= lastOf(b) && b.iova <= lastOf(a)
}

/** Sets the bits `first` to `last`, a chunk of bytes at a time. */
function setBits(bits: DirtyBits, first: bigint, last: bigint): void {
  for (let at = first / 8n; at <= last / 8n;) {
    const rest = last / 8n - at + 1n
    const chunk = new Uint8Array(rest < CHUNK ? Number(rest) : CHUNK)
    bits.read(at, chunk)
    for (let i = 0; i < chunk.length; i++) chunk[i] = (chunk[i] ?? 0) | bitsOfByte(at + BigInt(i), first, last)
    bits.write(at, chunk)
    at += BigInt(chunk.length)
  }
}

/** Gives the bits of byte `index` that lie between bits `first` and `last`. */
function bitsOfByte(index: bigint, first: bigint, last: bigint): number {
  const low = first > index * 8n ? Number(first - index * 8n) : 0
  const high = last < index * 8n + 7n ? Number(last - index * 8n) : 7
  return (0xff << low) & (0xff >> (7 - high)) & 0xff
}
