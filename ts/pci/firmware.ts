/**
 * What firmware does before a system starts: gives every BAR an address, every bridge its windows, every interrupt pin a
 * line, and lets functions decode.
 *
 * At power-on all resources of a root bus are laid out together, largest alignment first, below 4 GiB against its end and
 * 64-bit prefetchable ones high above; bridges get windows with room for hot-plugging. A function that is plugged in
 * later gets the lowest free address.
 */
import { COMMAND, CONFIG } from './config-layout.ts'
import type { PciBus, PciDevice } from './device.ts'
import { type BarResource, barAddress, setBarAddress } from './resources.ts'

type Kind = 'io' | 'memory' | 'prefetchable'

/** Where resources of a kind may lie, and what bridges get of it. */
interface Space {
  /** Lowest address for what is plugged in later. */
  start: bigint
  /** First address behind the space. */
  end: bigint
  /** Granularity of bridge windows. */
  window: bigint
  /** What a root port gets although nothing is behind it. */
  reserve: bigint
}

const SPACES: Readonly<Record<Kind, Space>> = {
  io: { start: 0x1000n, end: 0x1_0000n, window: 0x1000n, reserve: 0n },
  memory: { start: 0xe000_0000n, end: 0xfec0_0000n, window: 0x20_0000n, reserve: 0x20_0000n },
  prefetchable: { start: 0xc0_0000_0000n, end: 0x100_0000_0000n, window: 0x20_0000n, reserve: 0x2000_0000n },
}
const KINDS: readonly Kind[] = ['io', 'memory', 'prefetchable']
/** Where I/O ports begin at power-on, if that leaves enough. */
const IO_START = 0xc000n
const PAGE = 0x1000n
/** Lines that the four interrupt pins lead to. */
const INTERRUPT_LINES = [10, 10, 11, 11]

/** Something that wants addresses: a BAR, or the window of a bridge. */
interface Claim {
  size: bigint
  align: bigint
  place(address: bigint): void
}

/** Lays out everything behind a root bus anew. */
export function powerOn(root: PciBus): void {
  for (const kind of KINDS) {
    const claims = claimsOf(root, kind)
    let address = startOf(kind, claims)
    for (const claim of claims) {
      address = alignUp(address, claim.align)
      claim.place(address)
      address += claim.size
    }
  }
  for (const device of root.walk()) enable(device)
}

/** Gives a function that was plugged in addresses that none of `others` has. */
export function plugIn(device: PciDevice, others: readonly PciDevice[]): void {
  for (const bar of device.bars) {
    if (barAddress(device.hardware, bar) !== 0n) continue
    const kind = kindOf(bar)
    const taken = others
      .flatMap((other) => other.bars.filter((known) => kindOf(known) === kind).map((known) => rangeOf(other, known)))
      .concat(
        device.bars.filter((known) => known !== bar && kindOf(known) === kind).map((known) => rangeOf(device, known)),
      )
      .filter((range) => range.start !== 0n)
      .sort((a, b) => (a.start < b.start ? -1 : 1))
    const address = firstFree(SPACES[kind], bar.size, taken)
    if (address !== undefined) setBarAddress(device.hardware, bar, address)
  }
  enable(device)
}

function claimsOf(bus: PciBus, kind: Kind): Claim[] {
  const claims: Claim[] = []
  for (const device of bus.devices) {
    for (const bar of device.bars.filter((candidate) => kindOf(candidate) === kind)) {
      const size = kind === 'io' || bar.size > PAGE ? bar.size : PAGE
      claims.push({ size, align: size, place: (address) => setBarAddress(device.hardware, bar, address) })
    }
  }
  const bridges = bus.devices.filter((device) => device.subordinate !== undefined)
  for (const bridge of bridges.sort((a, b) => (b.subordinate?.number ?? 0) - (a.subordinate?.number ?? 0))) {
    const claim = bridgeClaim(bridge, kind)
    if (claim) claims.push(claim)
  }
  // stable: equals keep the order in which they were found
  return claims.sort((a, b) => compare(b.align, a.align) || compare(b.size, a.size))
}

function bridgeClaim(bridge: PciDevice, kind: Kind): Claim | undefined {
  const { window, reserve } = SPACES[kind]
  const inner = claimsOf(bridge.subordinate as PciBus, kind)
  const used = inner.reduce((sum, claim) => alignUp(sum, claim.align) + claim.size, 0n)
  const wanted = used > 0n ? used : reserve
  const place = (address: bigint) => {
    let next = address
    for (const claim of inner) {
      next = alignUp(next, claim.align)
      claim.place(next)
      next += claim.size
    }
    setWindow(bridge, kind, address, size)
  }
  const size = alignUp(wanted > reserve ? wanted : reserve, window)
  if (size === 0n) {
    setWindow(bridge, kind, 0n, 0n)
    return undefined
  }
  const align = inner.reduce((most, claim) => (claim.align > most ? claim.align : most), window)
  return { size, align, place }
}

function startOf(kind: Kind, claims: readonly Claim[]): bigint {
  const { start, end } = SPACES[kind]
  if (kind === 'prefetchable') return start
  const sum = claims.reduce((total, claim) => total + claim.size, 0n)
  if (kind === 'io') return sum <= SPACES.io.end - IO_START ? IO_START : start
  const align = claims.reduce((most, claim) => (claim.align > most ? claim.align : most), 1n)
  const lowest = (end - sum) & ~(align - 1n)
  return lowest > 0n ? lowest : start
}

function setWindow(bridge: PciDevice, kind: Kind, address: bigint, size: bigint): void {
  const { hardware } = bridge
  const [base, limit] = size === 0n ? [0xffff_ffffn, 0n] : [address, address + size - 1n]
  if (kind === 'io') {
    hardware.configWrite(CONFIG.ioBase, 1, Number((base >> 8n) & 0xf0n))
    hardware.configWrite(CONFIG.ioLimit, 1, Number((limit >> 8n) & 0xf0n))
    return
  }
  const [low, high] =
    kind === 'memory' ? [CONFIG.memoryBase, CONFIG.memoryLimit] : [CONFIG.prefetchBase, CONFIG.prefetchLimit]
  hardware.configWrite(low, 2, Number((base >> 16n) & 0xfff0n))
  hardware.configWrite(high, 2, Number((limit >> 16n) & 0xfff0n))
  if (kind === 'prefetchable') {
    hardware.configWrite(CONFIG.prefetchBaseHigh, 4, Number((base >> 32n) & 0xffff_ffffn))
    hardware.configWrite(CONFIG.prefetchLimitHigh, 4, Number((limit >> 32n) & 0xffff_ffffn))
  }
}

function enable(device: PciDevice): void {
  const { hardware, header } = device
  const command = hardware.configRead(CONFIG.command, 2)
  hardware.configWrite(CONFIG.command, 2, command | COMMAND.io | COMMAND.memory | COMMAND.serr)
  if (header.interruptPin === 0) return
  let rotation = header.interruptPin - 1 + device.address.slot
  for (let bridge = device.bus.bridge; bridge !== undefined; bridge = bridge.bus.bridge) rotation += bridge.address.slot
  hardware.configWrite(CONFIG.interruptLine, 1, INTERRUPT_LINES[rotation & 3] as number)
}

function kindOf(bar: BarResource): Kind {
  return bar.kind === 'io' ? 'io' : bar.wide && bar.prefetchable ? 'prefetchable' : 'memory'
}

function rangeOf(device: PciDevice, bar: BarResource): { start: bigint; end: bigint } {
  const start = barAddress(device.hardware, bar)
  return { start, end: start + bar.size }
}

function firstFree(space: Space, size: bigint, taken: readonly { start: bigint; end: bigint }[]): bigint | undefined {
  let address = alignUp(space.start, size)
  for (const range of taken) {
    if (address + size <= range.start) break
    if (range.end > address) address = alignUp(range.end, size)
  }
  return address + size <= space.end ? address : undefined
}

function alignUp(value: bigint, align: bigint): bigint {
  return (value + align - 1n) & ~(align - 1n)
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
