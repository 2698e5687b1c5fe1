/** A group as the IOMMU sees it: its windows, its endpoint, and what the firmware remembers of it. */
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { NativeEndpoint } from '../native/spapr-addon.ts'
import type { EehFirmware } from './eeh-firmware.ts'
import { EehState, type EndpointRecord } from './eeh-state.ts'
import type { Window } from './window.ts'

/** One group of the machine, whoever has it. */
export class TableGroup {
  readonly name: string
  /** The firmware refused it a window; it is not asked again until the machine restarts. */
  failed = false
  /** What the machine remembers of its endpoint. */
  readonly record: EndpointRecord = { parentRecovering: false, broken: false, earlierFreezes: 0n }
  readonly #firmware: EehFirmware | undefined
  readonly #resetDevices: () => void
  readonly #windows = new Map<number, Window>()
  #endpoint: NativeEndpoint | undefined
  #eeh: EehState | undefined

  constructor(name: string, firmware: EehFirmware | undefined, resetDevices: () => void) {
    this.name = name
    this.#firmware = firmware
    this.#resetDevices = resetDevices
  }

  /** Whether errors cut its devices off on this machine. */
  get freezing(): boolean {
    return this.#firmware?.freezing === true
  }

  /** Its error handling, while a container has it and the platform has any. */
  get eeh(): EehState | undefined {
    return this.#eeh
  }

  /** Its endpoint. @throws {Error} no container has it */
  get endpoint(): NativeEndpoint {
    if (this.#endpoint === undefined) throw new Error(`${this.name} is in no container`)
    return this.#endpoint
  }

  /** Whether the firmware made a 64-bit window for it. */
  get hasWideWindow(): boolean {
    return [...this.#windows.values()].some((window) => window.wide)
  }

  /** The windows that are set in it. */
  get windows(): readonly Window[] {
    return [...this.#windows.values()]
  }

  /** A container takes the group: a host's own windows are gone, its devices see nothing yet. */
  take(sibling: NativeEndpoint | undefined): void {
    const endpoint = new (addon().NativeEndpoint)(this.#firmware?.freezing === true, sibling)
    this.#endpoint = endpoint
    if (this.#firmware !== undefined)
      this.#eeh = new EehState(endpoint, this.#firmware, this.record, this.#resetDevices)
  }

  /** The container lets it go; the host recovers what was frozen. */
  release(): void {
    for (const slot of [...this.#windows.keys()]) this.unset(slot)
    this.#eeh?.recover()
    this.record.earlierFreezes += this.#endpoint?.freezes() ?? 0n
    this.#endpoint = undefined
    this.#eeh = undefined
  }

  /** Puts a window into its slot. @throws {VfioError} EBUSY */
  set(window: Window): void {
    syscall('set_window', () => this.endpoint.setWindow(window.slot, window.table))
    this.#windows.set(window.slot, window)
  }

  /** Empties a slot. */
  unset(slot: number): void {
    if (this.#windows.delete(slot)) this.#endpoint?.unsetWindow(slot)
  }
}
