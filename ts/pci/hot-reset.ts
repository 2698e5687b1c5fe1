/** Resets of a slot's bus: which functions they reach, and how they are done. */
import { VfioError } from '../errors.ts'
import type { HotResetDevice, HotResetProvider } from '../device/hot-reset.ts'
import { COMMAND, CONFIG } from './config-layout.ts'
import type { PciBus, PciDevice } from './device.ts'
import { setBarAddress, barAddress } from './resources.ts'

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
        if (!device.group) throw new VfioError('EPERM', 'hot reset', { reason: `${device.name} is in no group` })
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
    for (const device of this.#bus().walk()) resetKeepingAddresses(device)
  }

  /** The bus that the bridge above can reset. @throws {VfioError} ENODEV none can be */
  #bus(): PciBus {
    const { bus } = this.#device
    if (!bus.bridge || !resettable(bus)) {
      throw new VfioError('ENODEV', 'hot reset', {
        reason: `neither slot nor bus of ${this.#device.name} can be reset`,
      })
    }
    return bus
  }
}

function resettable(bus: PciBus): boolean {
  return !bus.bridge?.quirks.noBusReset && bus.walk().every((device) => !device.quirks.noBusReset)
}

/** Resets a function and gives back what the host had set up, as `pci_restore_state()` does. */
function resetKeepingAddresses(device: PciDevice): void {
  const { hardware, bars } = device
  if (!hardware.reset) return
  const command = hardware.configRead(CONFIG.command, 2)
  const line = hardware.configRead(CONFIG.interruptLine, 1)
  const addresses = bars.map((bar) => barAddress(hardware, bar))
  hardware.reset()
  for (const [i, bar] of bars.entries()) setBarAddress(hardware, bar, addresses[i] ?? 0n)
  hardware.configWrite(CONFIG.interruptLine, 1, line)
  hardware.configWrite(CONFIG.command, 2, command & ~COMMAND.busMaster)
}
