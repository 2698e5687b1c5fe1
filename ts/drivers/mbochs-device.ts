/** An mbochs display as a VFIO device: enough of the Bochs display for its guest driver, with planes as dma-bufs. */
import type { FeatureDescriptors, IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  VFIO_GFX_PLANE_TYPE_DMABUF,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_BAR2_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_REGION_SUBTYPE_GFX_EDID,
  VFIO_REGION_TYPE_GFX,
} from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { valueOf } from './access-pieces.ts'
import { DISPLAY_CONFIG_SIZE, DisplayConfig } from './display-config.ts'
import { DisplayDevice } from './display-device.ts'
import { NO_PLANE, queryPlane, type Plane } from './display-plane.ts'
import { DisplayRegions } from './display-regions.ts'
import { Framebuffer } from './framebuffer.ts'
import { MBOCHS_EDID_SIZE, MbochsEdid } from './mbochs-edid.ts'
import { MbochsPlanes } from './mbochs-planes.ts'
import { MBOCHS_REGISTERS_SIZE, MbochsRegisters } from './mbochs-registers.ts'

const VENDOR = 0x1234
const DEVICE = 0x1111
const REGISTERS_START = 0x1000
const EDID_START = REGISTERS_START + MBOCHS_REGISTERS_SIZE
const MEMORY_START = EDID_START + MBOCHS_EDID_SIZE
const EDID_REGION = VFIO_PCI_NUM_REGIONS
const MIB = 1 << 20
const PAGE = 4096
/** `DRM_PLANE_TYPE_PRIMARY`: the only plane that shows anything. */
const PRIMARY = 1

/** What sets the types of display apart. */
export interface MbochsSize {
  /** Video memory in MiB. */
  megabytes: number
  /** The largest mode, 0 for no limit. */
  maxXres: number
  maxYres: number
}

/** An mbochs display. */
export class MbochsDevice extends DisplayDevice {
  readonly name = 'mbochs'
  protected override readonly framebuffer: Framebuffer
  protected override readonly regions: DisplayRegions
  readonly #registers: MbochsRegisters
  readonly #planes = new MbochsPlanes()
  readonly #repaired: boolean

  /** `repaired`: see `MbochsOptions`. */
  constructor({ megabytes, maxXres, maxYres }: MbochsSize, repaired = false) {
    super()
    const size = megabytes * MIB
    const memory = new Framebuffer(size)
    const edid = new MbochsEdid(maxXres, maxYres)
    const registers = new MbochsRegisters(edid, size)
    const config = new DisplayConfig({
      vendor: VENDOR,
      device: DEVICE,
      bars: [
        { index: 0, size, prefetchable: true },
        { index: 2, size: MBOCHS_REGISTERS_SIZE, prefetchable: false },
      ],
    })
    // The sample counts from the registers on, not from where video memory begins.
    const place = (offset: number) => (repaired ? offset : offset + MEMORY_START - REGISTERS_START)
    this.framebuffer = memory
    this.#registers = registers
    this.#repaired = repaired
    this.regions = new DisplayRegions(EDID_REGION + 1, [
      {
        index: VFIO_PCI_CONFIG_REGION_INDEX,
        start: 0,
        size: DISPLAY_CONFIG_SIZE,
        read: (offset, into) => config.read(offset, into),
        write: (offset, from) => config.write(offset, from),
      },
      {
        index: VFIO_PCI_BAR2_REGION_INDEX,
        start: REGISTERS_START,
        size: MBOCHS_REGISTERS_SIZE,
        read: (offset, into) => registers.read(offset, into),
        write: (offset, from) => registers.write(offset, from),
      },
      {
        index: EDID_REGION,
        start: EDID_START,
        size: MBOCHS_EDID_SIZE,
        type: { type: VFIO_REGION_TYPE_GFX, subtype: VFIO_REGION_SUBTYPE_GFX_EDID },
        read: (offset, into) => edid.read(offset, into),
        write: (offset, from) => edid.write(offset, from),
      },
      {
        index: VFIO_PCI_BAR0_REGION_INDEX,
        start: MEMORY_START,
        size,
        mappable: true,
        read: (offset, into) => memory.read(place(offset), into),
        write: (offset, from) => memory.write(place(offset), from),
      },
    ])
  }

  /** Video memory and planes go; registers and configuration space keep their values. */
  closeDevice(): void {
    this.#planes.clear()
    this.framebuffer.drop()
  }

  /** Turns the display off; everything else keeps its values. */
  reset(): void {
    this.#registers.reset()
  }

  /**
   * Tells what the display shows, and gives it as a dma-buf.
   * @throws {VfioError} ENOTTY another request, EFAULT, EINVAL, ENOENT no such plane, ENOMEM, EMFILE
   */
  ioctl(request: number, argument: IoctlArgument, descriptors: FeatureDescriptors): number {
    switch (request) {
      case IOCTL.VFIO_DEVICE_QUERY_GFX_PLANE:
        return queryPlane(argument, VFIO_GFX_PLANE_TYPE_DMABUF, (planeType) => this.#plane(planeType))
      case IOCTL.VFIO_DEVICE_GET_GFX_DMABUF:
        return this.#share(valueOf(argument.read(4)), descriptors)
      default:
        throw new VfioError('ENOTTY', 'ioctl')
    }
  }

  #plane(planeType: number): Plane {
    const mode = planeType === PRIMARY ? this.#registers.mode() : undefined
    if (mode === undefined) return NO_PLANE
    const known = this.#planes.find(mode)
    const regionIndex = known ?? this.#planes.add(mode)
    if (known === undefined && !this.#repaired) {
      throw new VfioError('ENOMEM', 'VFIO_DEVICE_QUERY_GFX_PLANE', {
        reason: 'the sample refuses the first query after each change of mode',
        remedy: 'ask again',
      })
    }
    const { drmFormat, width, height, stride, size } = mode
    return { drmFormat, width, height, stride, size, regionIndex }
  }

  #share(id: number, descriptors: FeatureDescriptors): number {
    const { offset, size } = this.#planes.mode(id)
    if (offset % PAGE !== 0) {
      throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_GFX_DMABUF', { reason: 'the plane does not begin at a page' })
    }
    return descriptors.installRegion({
      region: VFIO_PCI_BAR0_REGION_INDEX,
      ranges: [{ offset: BigInt(offset), length: BigInt(size) }],
    })
  }
}
