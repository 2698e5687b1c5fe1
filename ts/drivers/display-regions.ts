/**
 * Regions of a sample display. They lie one behind the other in its device file, configuration space first, and the indexes
 * that it reports without having them all mean position 0.
 */
import type { RegionInfo, RegionPlace } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  VFIO_REGION_INFO_CAP_TYPE,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../uapi/constants.ts'
import { inPieces } from './access-pieces.ts'

/** One region: its place in the device file, and what answers there. Accesses come in aligned pieces of 1, 2 or 4 bytes. */
export interface DisplayRegion {
  index: number
  /** Another index of the same region. */
  alias?: number
  start: number
  size: number
  mappable?: boolean
  /** What a region beyond the bus's own is for. */
  type?: { type: number; subtype: number }
  read(offset: number, into: Uint8Array): void
  write(offset: number, from: Uint8Array): void
}

/** The regions of one display. */
export class DisplayRegions {
  /** How many indexes there are, aliases left out. */
  readonly count: number
  readonly #regions: readonly DisplayRegion[]

  /** `regions` in the order of their places, the first of which is 0. */
  constructor(count: number, regions: readonly [DisplayRegion, ...DisplayRegion[]]) {
    this.count = count
    this.#regions = regions
  }

  /** Describes a region. @throws {VfioError} EINVAL no such index */
  info(index: number): RegionInfo {
    const region = this.#find(index)
    if (region === undefined) {
      if (index < this.count) return { flags: 0, size: 0n, offset: 0n }
      throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_REGION_INFO', { reason: `there is no region ${index}` })
    }
    const { start, size, mappable = false, type } = region
    const flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
    return {
      flags: mappable ? flags | VFIO_REGION_INFO_FLAG_MMAP : flags,
      size: BigInt(size),
      offset: BigInt(start),
      ...(type === undefined ? {} : { capabilities: [typeCapability(type.type, type.subtype)] }),
    }
  }

  /** The last region that begins at or before a position of the device file, whether it reaches so far or not. */
  locate(position: bigint): RegionPlace {
    const region = this.#regions.findLast(({ start }) => BigInt(start) <= position)
    return { region: region?.index ?? 0, offset: position - BigInt(region?.start ?? 0) }
  }

  /** Whether a region can be mapped. */
  isMappable(index: number): boolean {
    return this.#find(index)?.mappable ?? false
  }

  /** Reads from a region on, into the ones behind it. @throws {VfioError} EFAULT between regions, or beyond the last */
  read(region: number, offset: bigint, into: Uint8Array): number {
    return inPieces(this.#position(region, offset), into, (at, piece) => {
      const found = this.#at(at, 'read')
      found.read(Number(at) - found.start, piece)
    })
  }

  /** Writes to a region, and on into the ones behind it. @throws {VfioError} EFAULT between regions, or beyond the last */
  write(region: number, offset: bigint, from: Uint8Array): number {
    return inPieces(this.#position(region, offset), from, (at, piece) => {
      const found = this.#at(at, 'write')
      found.write(Number(at) - found.start, piece)
    })
  }

  #find(index: number): DisplayRegion | undefined {
    return this.#regions.find((region) => region.index === index || region.alias === index)
  }

  #position(region: number, offset: bigint): bigint {
    return BigInt(this.#find(region)?.start ?? 0) + offset
  }

  /** The region at a position. A piece that begins in one ends there too, but for the odd last byte of configuration space. */
  #at(position: bigint, operation: 'read' | 'write'): DisplayRegion {
    const found = this.#regions.find(
      ({ start, size }) => BigInt(start) <= position && position < BigInt(start) + BigInt(size),
    )
    if (found === undefined) throw new VfioError('EFAULT', operation, { address: position, reason: 'no region there' })
    return found
  }
}

function typeCapability(type: number, subtype: number) {
  return { id: VFIO_REGION_INFO_CAP_TYPE, version: 1, payload: new Uint8Array(Uint32Array.of(type, subtype).buffer) }
}
