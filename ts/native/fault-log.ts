/** Native fault logs as callers see them. */
import { invalidArgType } from '../errors.ts'
import { u32 } from '../shape.ts'
import type { NativeFault, NativeFaultLog } from './addon.ts'
import type { BindingFaultLog } from './binding.ts'

/** The one implementation of {@link NativeFaultLog}. */
export class FaultLogHandle implements NativeFaultLog {
  readonly #owner: BindingFaultLog
  #told = 0

  constructor(owner: BindingFaultLog) {
    this.#owner = owner
  }

  /** The owner behind `log`. @throws {TypeError} it is not ours */
  static ownerOf(log: unknown, name: string): BindingFaultLog {
    if (typeof log !== 'object' || log === null || !(#owner in log)) {
      throw invalidArgType(name, 'a native fault log', log)
    }
    return log.#owner
  }

  total(): bigint {
    return this.#owner.total()
  }

  records(): NativeFault[] {
    return this.#owner.records(0)
  }

  clear(): void {
    this.#owner.clear()
  }

  setCapacity(records: number): void {
    this.#owner.setCapacity(u32(records, 'records'))
  }

  setListener(listener: ((fault: NativeFault) => void) | undefined): void {
    if (listener === undefined) return this.#owner.setListener(undefined)
    if (typeof listener !== 'function') throw invalidArgType('listener', 'a function', listener)
    this.#told = Number(this.#owner.total())
    this.#owner.setListener(() => {
      for (const fault of this.#owner.records(this.#told)) {
        this.#told = Number(fault.sequence)
        listener(fault)
      }
    })
  }
}
