/** Resets of a slot's bus: which functions they reach, and how they are done. */
import { VfioError } from '../errors.ts'
import type { HotResetDevice, HotResetProvider } from '../device/hot-reset.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { PciBus, PciDevice } from './device.ts'

/** The bus reset that reaches a function. */
export class BusReset implements HotResetProvider {
  readonly #device: PciDevice

  constructor(device: PciDevice) {
    this.#device = device
  }

  affected(): readonly HotResetDevice[] {
    return this.#bus()
      .walk()
      .map((device) => {
        if (!device.group)
          throw new VfioError('EPERM', 'VFIO_DEVICE_PCI_HOT_RESET', { reason: `${device.name} is in no group` })
        const { domain, bus } = device.address
        return {
          group: device.group.number,
          segment: domain,
          bus,
          devfn: device.devfn,
          bound: device.boundTo?.name === 'vfio-pci',
        }
      })
  }

  reset(): void {
    const bus = this.#bus()
    const functions = bus.walk().flatMap(({ hardware }) => (hardware.made ? [hardware.made] : []))
    syscall('VFIO_DEVICE_PCI_HOT_RESET', () => addon().NativePciFunction.resetBus(functions))
    if (bus.bridge?.quirks.linkStaysDown) {
      throw new VfioError('ENOTTY', 'VFIO_DEVICE_PCI_HOT_RESET', {
        reason: `the link of ${bus.bridge.name} did not come up after the reset`,
      })
    }
  }

  /** The bus that the bridge above can reset. @throws {VfioError} ENODEV none can be */
  #bus(): PciBus {
    const { bus } = this.#device
    if (!bus.bridge || !resettable(bus)) {
      throw new VfioError('ENODEV', 'VFIO_DEVICE_PCI_HOT_RESET', {
        reason: `neither slot nor bus of ${this.#device.name} can be reset`,
      })
    }
    return bus
  }
}

function resettable(bus: PciBus): boolean {
  return !bus.bridge?.quirks.noBusReset && bus.walk().every((device) => !device.quirks.noBusReset)
}

/** Tells the functions of a bus whether resetting it is a way to reset them: each one, if it is alone there. */
export function updateBusReset(bus: PciBus): void {
  const [only, ...others] = bus.devices
  const alone = only !== undefined && others.length === 0 && only.subordinate === undefined
  const possible = alone && bus.bridge !== undefined && resettable(bus)
  for (const device of bus.devices) device.hardware.setBusReset?.(possible)
}
