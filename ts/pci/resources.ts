/** Base address registers of functions: which there are, how large, and where they lie. */
import { COMMAND, CONFIG, type ConfigAccess, HEADER_BRIDGE } from './config-layout.ts'

/** A base address register that a function has. */
export interface BarResource {
  /** Index of the register; a 64-bit one takes the next too. */
  readonly index: number
  readonly kind: 'io' | 'memory'
  /** 64 bits wide. */
  readonly wide: boolean
  readonly prefetchable: boolean
  /** Size in bytes. */
  readonly size: bigint
}

/** Finds a function's BARs by writing ones, as enumeration does; what stood there stands there again. */
export function findBars(config: ConfigAccess, headerType: number): BarResource[] {
  const count = headerType === HEADER_BRIDGE ? 2 : 6
  const command = config.configRead(CONFIG.command, 2)
  config.configWrite(CONFIG.command, 2, command & ~(COMMAND.io | COMMAND.memory))
  const bars: BarResource[] = []
  for (let index = 0; index < count; index++) {
    const bar = findBar(config, index, index + 1 < count)
    if (!bar) continue
    bars.push(bar)
    if (bar.wide) index++
  }
  config.configWrite(CONFIG.command, 2, command)
  return bars
}

/** Where a BAR lies; 0 where it was given no address. */
export function barAddress(config: ConfigAccess, bar: BarResource): bigint {
  const low = BigInt(config.configRead(at(bar.index), 4) >>> 0)
  const high = bar.wide ? BigInt(config.configRead(at(bar.index + 1), 4) >>> 0) : 0n
  return ((high << 32n) | low) & (bar.kind === 'io' ? ~3n : ~15n)
}

/** Gives a BAR an address. */
export function setBarAddress(config: ConfigAccess, bar: BarResource, address: bigint): void {
  config.configWrite(at(bar.index), 4, Number(address & 0xffff_ffffn))
  if (bar.wide) config.configWrite(at(bar.index + 1), 4, Number(address >> 32n))
}

function findBar(config: ConfigAccess, index: number, roomForWide: boolean): BarResource | undefined {
  const before = config.configRead(at(index), 4)
  const mask = probe(config, index)
  if (mask === 0 || mask === 0xffff_ffff) return undefined
  const type = before & 0xf
  if ((type & 1) !== 0) {
    const size = (~(mask & ~3) & 0xffff) + 1
    return { index, kind: 'io', wide: false, prefetchable: false, size: BigInt(size) }
  }
  const wide = (type & 6) === 4 && roomForWide
  const high = wide ? probe(config, index + 1) : 0xffff_ffff
  const ones = (BigInt(high >>> 0) << 32n) | BigInt((mask & ~15) >>> 0)
  if (ones === 0xffff_ffff_0000_0000n && !wide) return undefined
  const size = BigInt.asUintN(64, ~ones) + 1n
  return { index, kind: 'memory', wide, prefetchable: (type & 8) !== 0, size }
}

function probe(config: ConfigAccess, index: number): number {
  const before = config.configRead(at(index), 4)
  config.configWrite(at(index), 4, 0xffff_ffff)
  const mask = config.configRead(at(index), 4) >>> 0
  config.configWrite(at(index), 4, before)
  return mask
}

function at(index: number): number {
  return CONFIG.bar0 + 4 * index
}
