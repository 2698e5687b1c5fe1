/** The sample driver of a display that is nothing but video memory, in three sizes. */
import type { MdevParentOptions } from '../mdev/parent-options.ts'
import { u32 } from '../shape.ts'
import { MdpyDevice, type MdpyMode } from './mdpy-device.ts'

const INSTANCES = 4

const MODES: Readonly<Record<string, MdpyMode>> = {
  vga: { width: 640, height: 480 },
  xga: { width: 1024, height: 768 },
  hd: { width: 1920, height: 1080 },
}

/** Settings of the driver. */
export interface MdpyOptions {
  /** How many displays there can be, of whatever type; default 4. */
  instances?: number
  /**
   * Repairs the sample's accesses to video memory: the sample reads and writes its first bytes wherever the access is, so that only
   * a mapping shows all of it; default false, as the sample.
   */
  repaired?: boolean
}

/**
 * Makes the driver with its types `mdpy-vga`, `mdpy-xga` and `mdpy-hd`, to be registered as a parent:
 * `host.mdev.registerParent('mdpy', mdpy())`.
 * @throws {TypeError} `instances` is no number
 */
export function mdpy(options: MdpyOptions = {}): MdevParentOptions {
  return {
    driver: 'mdpy',
    deviceApi: 'vfio-pci',
    types: Object.keys(MODES).map((name) => ({ name, prettyName: `mdpy-${name}` })),
    maxInstances: u32(options.instances ?? INSTANCES, 'options.instances'),
    showDescription: ({ name }) => `virtual display, ${sizeOf(name)} framebuffer\n`,
    deviceAttributes: { vendor: { resolution: { show: ({ type }) => `${sizeOf(type.name)}\n` } } },
    probe: ({ type }) => new MdpyDevice(modeOf(type.name), options.repaired ?? false),
  }
}

function modeOf(type: string): MdpyMode {
  const mode = MODES[type]
  if (mode === undefined) throw new Error(`mdpy has no type ${type}`)
  return mode
}

function sizeOf(type: string): string {
  const { width, height } = modeOf(type)
  return `${width}x${height}`
}
