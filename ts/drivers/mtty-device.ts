/**
 * An mtty card as a VFIO device: a PCI function with one or two serial ports behind I/O BARs.
 *
 * Registers, interrupts, configuration space and migration each have a file of their own; this one routes.
 */
import type { DeviceInfo, DmaLoggingOps, IrqInfo, IrqSetRequest, RegionInfo, VfioDeviceOps } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../uapi/constants.ts'
import { inPieces } from './access-pieces.ts'
import { MTTY_CONFIG_SIZE, MttyConfig } from './mtty-config.ts'
import { MttyInterrupts } from './mtty-interrupts.ts'
import { MttyMigration } from './mtty-migration.ts'
import { SerialPort } from './serial-port.ts'

/** Regions lie 2^40 bytes apart in the device file. */
const REGION_SHIFT = 40n
const REGION_SPAN = 1n << REGION_SHIFT
/** Size of a port's BAR in bytes. */
const PORT_SIZE = 8
/** The card decodes 16 bits of a BAR's offset. */
const DECODED = 0xffffn

/** An mtty card with one or two ports. */
export class MttyDevice implements VfioDeviceOps {
  readonly name = 'mtty'
  readonly migration: MttyMigration
  /** The card does no DMA: logging it always finds nothing. */
  readonly dmaLogging: DmaLoggingOps = {
    start: (_ranges, pageSize) => pageSize,
    stop: () => {},
    readAndClear: () => {},
  }
  readonly #ports: readonly SerialPort[]
  readonly #config: MttyConfig
  readonly #interrupts = new MttyInterrupts()

  /** `repaired`: see `MttyOptions`. */
  constructor(ports: 1 | 2, repaired = false) {
    this.#ports = Array.from({ length: ports }, () => new SerialPort(() => this.#interrupts.raise(), repaired))
    this.#config = new MttyConfig(ports)
    this.migration = new MttyMigration(this.#ports)
  }

  closeDevice(): void {
    this.migration.endStreams()
    this.#interrupts.disable()
  }

  getInfo(): DeviceInfo {
    return { flags: VFIO_DEVICE_FLAGS_PCI, numRegions: VFIO_PCI_NUM_REGIONS, numIrqs: this.#interrupts.tell() }
  }

  getRegionInfo(index: number): RegionInfo {
    if (index >= VFIO_PCI_NUM_REGIONS) {
      throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_REGION_INFO', { reason: `there is no region ${index}` })
    }
    return {
      flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
      size: BigInt(this.#sizeOf(index)),
      offset: BigInt(index) << REGION_SHIFT,
    }
  }

  getIrqInfo(index: number): IrqInfo {
    return this.#interrupts.info(index)
  }

  setIrqs(request: IrqSetRequest): void {
    this.#interrupts.set(request)
  }

  /** Resets the migration state; registers and configuration space keep their values. */
  reset(): void {
    this.migration.reset()
  }

  /** @throws {VfioError} EFAULT a region other than the BARs and configuration space */
  read(region: number, offset: bigint, into: Uint8Array): number {
    return acrossRegions(region, offset, into, (index, at, piece) => {
      if (index === VFIO_PCI_CONFIG_REGION_INDEX) this.#config.read(Number(at), piece)
      else piece.fill(0).set([this.#portOf(index)?.read(Number(at & DECODED)) ?? 0])
    })
  }

  /** @throws {VfioError} EFAULT a region other than the BARs and configuration space */
  write(region: number, offset: bigint, from: Uint8Array): number {
    return acrossRegions(region, offset, from, (index, at, piece) => {
      if (index === VFIO_PCI_CONFIG_REGION_INDEX) this.#config.write(Number(at), piece)
      else this.#portOf(index)?.write(Number(at & DECODED), piece[0] ?? 0)
    })
  }

  #sizeOf(region: number): number {
    if (region === VFIO_PCI_CONFIG_REGION_INDEX) return MTTY_CONFIG_SIZE
    return region < this.#ports.length ? PORT_SIZE : 0
  }

  /** The port behind a BAR; the other BARs answer nothing. */
  #portOf(region: number): SerialPort | undefined {
    return this.#ports[region - VFIO_PCI_BAR0_REGION_INDEX]
  }
}

/**
 * Splits an access into pieces, which may run on into the next region. Only the first byte of a piece means anything to a port.
 */
function acrossRegions(
  region: number,
  offset: bigint,
  bytes: Uint8Array,
  access: (region: number, offset: bigint, piece: Uint8Array) => void,
): number {
  return inPieces(BigInt(region) * REGION_SPAN + offset, bytes, (at, piece) => {
    const index = Number(at >> REGION_SHIFT)
    if (index > VFIO_PCI_BAR5_REGION_INDEX && index !== VFIO_PCI_CONFIG_REGION_INDEX) {
      throw new VfioError('EFAULT', 'access', { address: at, reason: `region ${index} holds nothing` })
    }
    access(index, at & (REGION_SPAN - 1n), piece)
  })
}
