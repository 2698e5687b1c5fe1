/**
 * The sample driver of the mediated-device document: PCI serial cards with one or two ports that loop data back.
 *
 * It is written against the public driver interface alone, and may serve as a model for others.
 */
import { VfioError } from '../errors.ts'
import type { MdevParentOptions } from '../mdev/parent-options.ts'
import { u32 } from '../shape.ts'
import { MttyDevice } from './mtty-device.ts'

const PORTS = 24

/** Settings of the driver. */
export interface MttyOptions {
  /** Serial ports that the cards share; default 24. */
  ports?: number
  /** Shows the parent's attribute `mtty_dev/sample_mtty_dev`, as the sample did until Linux 5.13; default false. */
  parentAttributes?: boolean
  /**
   * Repairs the sample's receive FIFO: one that is exactly full reads as full. The sample's reads as empty, so that a guest whose
   * driver sends 16 bytes at once waits for ever; default false, as the sample.
   */
  repaired?: boolean
}

/**
 * Makes the driver with its types `mtty-1` and `mtty-2` (the number is that of the ports), to be registered as a parent:
 * `host.mdev.registerParent('mtty', mtty())`.
 * @throws {TypeError} `ports` is no number
 */
export function mtty(options: MttyOptions = {}): MdevParentOptions {
  let free = u32(options.ports ?? PORTS, 'options.ports')
  return {
    driver: 'mtty',
    deviceApi: 'vfio-pci',
    types: [
      { name: '1', prettyName: 'Single port serial', data: 1 },
      { name: '2', prettyName: 'Dual port serial', data: 2 },
    ],
    ...(options.parentAttributes === true ? { attributes: PARENT_ATTRIBUTES } : {}),
    deviceAttributes: { vendor: { sample_mdev_dev: { show: ({ uuid }) => `This is MDEV ${uuid}\n` } } },
    getAvailable: (type) => Math.floor(free / portsOf(type.data)),
    probe: (mdev) => {
      const ports = portsOf(mdev.type.data)
      if (free < ports) {
        throw new VfioError('ENOSPC', 'mdev_create', {
          reason: `${mdev.type.id} takes ${ports} ports, ${free} are left`,
          remedy: 'remove another card first',
        })
      }
      free -= ports
      return new MttyDevice(ports, options.repaired ?? false)
    },
    remove: (mdev) => {
      free += portsOf(mdev.type.data)
    },
  }
}

const PARENT_ATTRIBUTES = { mtty_dev: { sample_mtty_dev: { show: () => 'This is phy device\n' } } }

function portsOf(data: unknown): 1 | 2 {
  return data === 2 ? 2 : 1
}
