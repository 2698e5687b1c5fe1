/** `VFIO_DEVICE_QUERY_GFX_PLANE`: what a display shows, and by which means users get at it. */
import type { IoctlArgument } from '../device/ops.ts'
import { endOf, readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import { VFIO_GFX_PLANE_TYPE_PROBE } from '../uapi/constants.ts'
import { vfioDeviceGfxPlaneInfo } from '../uapi/structs.ts'

/** Fourcc XR24: blue, green, red and a byte of nothing. */
export const XRGB8888 = 0x3432_5258
/** Bytes of such a pixel. */
export const PIXEL_SIZE = 4

const NAME = 'VFIO_DEVICE_QUERY_GFX_PLANE'
const MIN_SIZE = endOf(vfioDeviceGfxPlaneInfo, 'region_index')
const AT_ORIGIN = { drmFormatMod: 0n, xPos: 0, yPos: 0, xHot: 0, yHot: 0 }

/** A plane. `regionIndex` is where it lies, or the id of its dma-buf. */
export interface Plane {
  drmFormat: number
  width: number
  height: number
  stride: number
  size: number
  regionIndex: number
}

/** What a plane without picture answers. */
export const NO_PLANE: Plane = { drmFormat: 0, width: 0, height: 0, stride: 0, size: 0, regionIndex: 0 }

/**
 * Answers the request for a display whose planes are of one `kind` (`VFIO_GFX_PLANE_TYPE_*`); a probe asks for no more than that.
 * @throws {VfioError} EFAULT, EINVAL a short argsz or another kind, and what `describe` refuses with
 */
export function queryPlane(argument: IoctlArgument, kind: number, describe: (drmPlaneType: number) => Plane): number {
  const asked = readStruct(argument, vfioDeviceGfxPlaneInfo, MIN_SIZE, NAME)
  const probe = asked.flags === (kind | VFIO_GFX_PLANE_TYPE_PROBE)
  if (!probe && asked.flags !== kind) {
    throw new VfioError('EINVAL', NAME, { reason: `planes are of kind ${kind}, flags are ${asked.flags}` })
  }
  const answer = probe ? asked : { ...asked, ...AT_ORIGIN, ...describe(asked.drmPlaneType) }
  writeStruct(argument, vfioDeviceGfxPlaneInfo, answer, MIN_SIZE)
  return 0
}
