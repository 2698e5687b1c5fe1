/** Kinds of machines, and what differs between them at the file door. */
import { invalidArgValue, outOfRange } from '../errors.ts'
import { u32 } from '../shape.ts'
import type { SpaprPlatformName } from '../spapr/settings.ts'

/** `'x86'` with a type1 IOMMU, or a POWER machine with an sPAPR IOMMU. */
export type MachineKind = 'x86' | SpaprPlatformName

const KINDS: ReadonlySet<string> = new Set(['x86', 'powernv', 'pseries'])
const DEFAULT_PAGE = { x86: 4096, powernv: 65536, pseries: 65536 } as const

/** Takes kind and page size of a machine. @throws {TypeError} no such kind @throws {RangeError} no size of a page */
export function machineOf(options: { platform?: MachineKind; pageSize?: number }): {
  kind: MachineKind
  pageSize: number
} {
  const kind = options.platform ?? 'x86'
  if (!KINDS.has(kind)) throw invalidArgValue('platform', `must be 'x86', 'powernv' or 'pseries'`)
  const pageSize = u32(options.pageSize ?? DEFAULT_PAGE[kind], 'pageSize')
  const sizes = kind === 'x86' ? [4096] : [4096, 65536]
  if (!sizes.includes(pageSize)) throw outOfRange('pageSize', sizes.join(' or '), pageSize)
  return { kind, pageSize }
}

/** Direction bits of requests without an argument size: `_IO` is 1 << 29 on POWER, 0 elsewhere. */
const DIRECTION = 0xe000_0000
const NONE = 0x2000_0000
const UNKNOWN = 0xffff_ffff
const READ = 0x4000_0000
const WRITE = 0x8000_0000

/**
 * The request that a POWER program means: its encoding has the direction in three bits and 13 bits of size, where that of
 * other machines has two and 14.
 */
export function ppc64Request(request: number): number {
  const rest = request & 0x1fff_ffff
  switch ((request & DIRECTION) >>> 0) {
    case NONE:
      return rest
    case READ:
      return (rest | 0x8000_0000) >>> 0
    case WRITE:
      return (rest | 0x4000_0000) >>> 0
    case READ + WRITE:
      return (rest | 0xc000_0000) >>> 0
    default:
      return UNKNOWN
  }
}
