/** The bus driver `vfio-pci`: gives functions to VFIO, and takes them back. */
import { VfioError } from '../errors.ts'
import { VfioDevice } from '../device/vfio-device.ts'
import { VfioPciOps } from '../device/vfio-pci-ops.ts'
import type { VfioRegistry } from '../group/vfio-registry.ts'
import type { PciDriverOps } from './driver.ts'
import { BusReset } from './hot-reset.ts'
import { PCI_ANY_ID } from './id-table.ts'

/**
 * Makes the driver for a registry of VFIO devices.
 *
 * It matches no function by itself: one is given to it by `new_id`, or by its `driver_override`.
 */
export function vfioPciDriver(registry: VfioRegistry): PciDriverOps {
  return {
    name: 'vfio-pci',
    managesDma: true,
    ids: [{ vendor: PCI_ANY_ID, device: PCI_ANY_ID, overrideOnly: true }],
    probe(device) {
      const { hardware } = device
      if (!hardware.native || device.isBridge) {
        throw new VfioError('EINVAL', 'probe', { reason: `${device.name} is a bridge, which vfio-pci does not drive` })
      }
      const { migration, dmaLogging } = hardware
      const ops = new VfioPciOps(hardware.native(), { hotReset: new BusReset(device), migration, dmaLogging })
      const vfio = new VfioDevice(device.name, ops, { path: device.path })
      try {
        registry.registerGroupDev(vfio, device.group)
      } catch (error) {
        vfio.put()
        throw error
      }
      device.vfio = vfio
    },
    remove(device, done) {
      const { vfio } = device
      if (!vfio) return done()
      registry.unregisterGroupDev(vfio, () => {
        device.vfio = undefined
        vfio.put()
        done()
      })
    },
  }
}
