/** Hardware that is native altogether: the function of the addon as a slot has it. */
import type { DmaLoggingOps, MigrationOps } from '../device/ops.ts'
import type { NativePciFunction } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import type { PciHardware } from './hardware.ts'

/** A native function in a slot. */
export class NativeHardware implements PciHardware {
  readonly migration: MigrationOps | undefined
  readonly dmaLogging: DmaLoggingOps | undefined
  readonly #native: NativePciFunction
  readonly #onClose: (() => void) | undefined
  #closed = false

  constructor(
    native: NativePciFunction,
    onClose?: () => void,
    brings: Pick<PciHardware, 'migration' | 'dmaLogging'> = {},
  ) {
    this.#native = native
    this.migration = brings.migration
    this.dmaLogging = brings.dmaLogging
    this.#onClose = onClose
  }

  configRead(offset: number, width: number): number {
    return this.#native.configRead(offset, width)
  }

  configWrite(offset: number, width: number, value: number): void {
    this.#native.configWrite(offset, width, value)
  }

  native(): NativePciFunction {
    return this.#native
  }

  get made(): NativePciFunction {
    return this.#native
  }

  setBusReset(possible: boolean): void {
    this.#native.setBusReset(possible)
  }

  reset(): void {
    syscall('reset', () => this.#native.reset())
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#native.close()
    this.#onClose?.()
  }
}
