/** The sample driver of a Bochs display, in three sizes that share an amount of video memory. */
import { VfioError } from '../errors.ts'
import type { MdevParentOptions } from '../mdev/parent-options.ts'
import { u32 } from '../shape.ts'
import { MbochsDevice, type MbochsSize } from './mbochs-device.ts'

const MEGABYTES = 256

const SIZES: Readonly<Record<string, MbochsSize>> = {
  small: { megabytes: 4, maxXres: 800, maxYres: 600 },
  medium: { megabytes: 16, maxXres: 1920, maxYres: 1440 },
  large: { megabytes: 64, maxXres: 0, maxYres: 0 },
}

/** Settings of the driver. */
export interface MbochsOptions {
  /** Video memory that the displays share, in MiB; default 256. */
  megabytes?: number
  /**
   * Repairs two faults of the sample: accesses to video memory reach what lies 8 KiB further on (EFAULT at its end), though a mapping
   * shows the truth; and the first query for a plane after a change of mode is ENOMEM. Default false, as the sample.
   */
  repaired?: boolean
}

/**
 * Makes the driver with its types `mbochs-small`, `mbochs-medium` and `mbochs-large`, to be registered as a parent:
 * `host.mdev.registerParent('mbochs', mbochs())`.
 * @throws {TypeError} `megabytes` is no number
 */
export function mbochs(options: MbochsOptions = {}): MdevParentOptions {
  let free = u32(options.megabytes ?? MEGABYTES, 'options.megabytes')
  return {
    driver: 'mbochs',
    deviceApi: 'vfio-pci',
    types: Object.keys(SIZES).map((name) => ({ name, prettyName: `mbochs-${name}` })),
    getAvailable: ({ name }) => Math.floor(free / sizeOf(name).megabytes),
    showDescription: ({ name }) => `virtual display, ${sizeOf(name).megabytes} MB video memory\n`,
    deviceAttributes: { vendor: { memory: { show: ({ type }) => `${sizeOf(type.name).megabytes} MB\n` } } },
    probe: ({ type }) => {
      const size = sizeOf(type.name)
      if (free < size.megabytes) {
        throw new VfioError('ENOSPC', 'mdev_create', {
          reason: `${type.id} takes ${size.megabytes} MiB, ${free} are left`,
          remedy: 'remove another display first',
        })
      }
      free -= size.megabytes
      return new MbochsDevice(size, options.repaired ?? false)
    },
    remove: ({ type }) => {
      free += sizeOf(type.name).megabytes
    },
  }
}

function sizeOf(type: string): MbochsSize {
  const size = SIZES[type]
  if (size === undefined) throw new Error(`mbochs has no type ${type}`)
  return size
}
