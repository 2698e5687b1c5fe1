/**
 * Devices of a container on the PCI bus of a v86 machine.
 *
 *     const bus = new VfioBus(insideOf(emulator), container)
 *     bus.plug(device, 12)
 *
 * Do so when the emulator is ready and before it runs (`autostart: false`), so that firmware finds the devices. Slots 0, 1, 5,
 * 18 and 30 are taken by v86's own devices.
 */
import type { Container, Device } from 'vfio'
import { MemoryWindows } from './bar-windows.ts'
import { GuestMemory } from './guest-memory.ts'
import { PciFunction, type Surroundings } from './pci-function.ts'
import type { Cpu, Pci } from './v86-inside.ts'

const ENABLED = -0x8000_0000
const REPLACED = ['pci_query', 'pci_write8', 'pci_write16', 'pci_write32'] as const

/** The bus. It keeps the machine's RAM mapped in the container. */
export class VfioBus {
  readonly #cpu: Cpu
  readonly #functions = new Map<number, PciFunction>()
  readonly #around: Surroundings
  readonly #memory: GuestMemory

  /**
   * Takes part in the machine's bus. `refused` hears of accesses that a device refuses; the guest reads ones then, as from
   * an empty slot.
   * @throws {VfioError} as `container.mapDma`
   */
  constructor(cpu: Cpu, container: Container, refused: (error: unknown) => void = () => {}) {
    this.#cpu = cpu
    this.#memory = new GuestMemory(cpu, container)
    this.#around = {
      cpu,
      memory: new MemoryWindows(cpu),
      dmaDone: () => this.#memory.forgetStaleCode(),
      refused,
    }
    this.#replace(cpu.devices.pci)
  }

  /** Puts an open device into a slot. It is not closed with the bus. @throws {Error} there is something, or no such slot */
  plug(device: Device, slot: number): PciFunction {
    const id = slot << 3
    if (!Number.isInteger(slot) || slot < 0 || slot > 31) throw new RangeError(`no slot ${slot}: there are 0 to 31`)
    if (this.#cpu.devices.pci.devices[id] !== undefined) throw new Error(`slot ${slot} is taken`)
    const plugged = new PciFunction(this.#around, id, device)
    this.#functions.set(id, plugged)
    return plugged
  }

  /** Resets all devices: call it when the machine restarts. */
  reset(): void {
    for (const plugged of this.#functions.values()) plugged.reset()
  }

  /** Takes the devices off the bus and RAM away from them (idempotent). */
  close(): void {
    for (const plugged of this.#functions.values()) plugged.close()
    this.#functions.clear()
    for (const name of REPLACED) Reflect.deleteProperty(this.#cpu.devices.pci, name)
    this.#memory.close()
  }

  /** v86 keeps configuration spaces as plain arrays; those of our functions are asked and told instead. */
  #replace(pci: Pci): void {
    const { pci_query, pci_write8, pci_write16, pci_write32 } = pci
    const answer = (): boolean => {
      const [register = 0, function_ = 0, bus = 0] = pci.pci_addr
      const plugged = this.#functions.get((bus << 8) | function_)
      if (plugged === undefined) return false
      pci.pci_status32[0] = ENABLED
      pci.pci_response32[0] = plugged.readConfig(register & 0xfc)
      return true
    }
    const write = (width: 1 | 2 | 4, otherwise: Pci['pci_write8']) => (address: number, value: number) => {
      const plugged = this.#functions.get((address >> 8) & 0xffff)
      if (plugged === undefined) return otherwise.call(pci, address, value)
      plugged.writeConfig(address & 0xff, width, value)
      answer()
    }
    pci.pci_query = () => void (answer() || pci_query.call(pci))
    pci.pci_write8 = write(1, pci_write8)
    pci.pci_write16 = write(2, pci_write16)
    pci.pci_write32 = write(4, pci_write32)
  }
}
