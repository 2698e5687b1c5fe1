/** An mdpy display as a VFIO device: a fixed mode, in video memory that is a region. */
import type { DeviceInfo, IoctlArgument, IrqInfo } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import {
  VFIO_GFX_PLANE_TYPE_REGION,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
} from '../uapi/constants.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { DISPLAY_CONFIG_SIZE, DisplayConfig } from './display-config.ts'
import { DisplayDevice } from './display-device.ts'
import { PIXEL_SIZE, queryPlane, XRGB8888 } from './display-plane.ts'
import { DisplayRegions } from './display-regions.ts'
import { Framebuffer } from './framebuffer.ts'

const VENDOR = 0x1b36
const DEVICE = 0x000f
const MEMORY_START = 0x1000
/** Index by which the plane names the video memory; it is the same as BAR 0. */
const DISPLAY_REGION = 16
const VENDOR_CAPABILITY = 0x09
const CAPABILITY_SIZE = 16

/** Pixels of a display. */
export interface MdpyMode {
  width: number
  height: number
}

/** An mdpy display. */
export class MdpyDevice extends DisplayDevice {
  readonly name = 'mdpy'
  protected override readonly framebuffer: Framebuffer
  protected override readonly regions: DisplayRegions
  readonly #mode: MdpyMode
  /** Somebody has asked what the device is; until then it has no interrupt indexes. */
  #told = false

  /** `repaired`: see `MdpyOptions`. */
  constructor(mode: MdpyMode, repaired = false) {
    super()
    this.#mode = mode
    const size = 2 ** Math.ceil(Math.log2(mode.width * mode.height * PIXEL_SIZE))
    const memory = new Framebuffer(size)
    const config = new DisplayConfig({
      vendor: VENDOR,
      device: DEVICE,
      bars: [{ index: 0, size, prefetchable: true }],
      capability: modeCapability(mode),
    })
    // The sample reads and writes the first bytes, wherever in the region the access is.
    const place = (offset: number) => (repaired ? offset : 0)
    this.framebuffer = memory
    this.regions = new DisplayRegions(VFIO_PCI_NUM_REGIONS, [
      {
        index: VFIO_PCI_CONFIG_REGION_INDEX,
        start: 0,
        size: DISPLAY_CONFIG_SIZE,
        read: (offset, into) => config.read(offset, into),
        write: (offset, from) => config.write(offset, from),
      },
      {
        index: VFIO_PCI_BAR0_REGION_INDEX,
        alias: DISPLAY_REGION,
        start: MEMORY_START,
        size,
        mappable: true,
        read: (offset, into) => memory.read(place(offset), into),
        write: (offset, from) => memory.write(place(offset), from),
      },
    ])
    this.reset()
  }

  override getInfo(): DeviceInfo {
    this.#told = true
    return super.getInfo()
  }

  /** @throws {VfioError} EINVAL no such index, or not before GET_INFO */
  override getIrqInfo(index: number): IrqInfo {
    if (this.#told) return super.getIrqInfo(index)
    throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_IRQ_INFO', {
      reason: 'the device has no interrupt index before it was asked what it is',
      remedy: 'call VFIO_DEVICE_GET_INFO first',
    })
  }

  /** Paints the screen from black at the top to white; configuration space keeps its values. */
  reset(): void {
    const { height } = this.#mode
    const stride = this.#stride
    for (let line = 0; line < height; line++) {
      this.framebuffer.fill(Math.floor((line * 255) / height), line * stride, stride)
    }
  }

  /** Tells what the display shows. @throws {VfioError} ENOTTY another request, EFAULT, EINVAL */
  ioctl(request: number, argument: IoctlArgument): number {
    if (request !== IOCTL.VFIO_DEVICE_QUERY_GFX_PLANE) throw new VfioError('ENOTTY', 'ioctl')
    return queryPlane(argument, VFIO_GFX_PLANE_TYPE_REGION, () => ({
      drmFormat: XRGB8888,
      ...this.#mode,
      stride: this.#stride,
      size: this.framebuffer.size,
      regionIndex: DISPLAY_REGION,
    }))
  }

  get #stride(): number {
    return this.#mode.width * PIXEL_SIZE
  }
}

/** The capability by which a guest learns format, width and height. */
function modeCapability({ width, height }: MdpyMode): Uint8Array {
  const header = VENDOR_CAPABILITY + CAPABILITY_SIZE * 0x1_0000
  return new Uint8Array(Uint32Array.of(header, XRGB8888, width, height).buffer)
}
