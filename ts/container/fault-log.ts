/** Refused DMA, as records to read and events to listen to. */
import { EventEmitter } from 'node:events'
import { u32 } from '../shape.ts'
import type { NativeFault, NativeFaultLog } from '../native/addon.ts'

/** A refused DMA: device, address, length, access, reason, nearest mappings, what last touched the address, and a text. */
export type DmaFault = Readonly<NativeFault>

/** Events of a fault log. */
export interface FaultEvents {
  /** A DMA was refused; told at the next turn of the event loop. */
  fault: [fault: DmaFault]
}

/** The newest refused DMAs of one IOMMU. Listen with `on('fault')`, or read the records afterwards. */
export class FaultLog extends EventEmitter<FaultEvents> {
  readonly #native: NativeFaultLog

  constructor(native: NativeFaultLog) {
    super()
    this.#native = native
    this.#followListeners(this)
  }

  /** Listens to the native log while somebody listens here. */
  #followListeners(emitter: EventEmitter): void {
    const nobody = (event: unknown): boolean => event === 'fault' && emitter.listenerCount('fault') === 0
    emitter.on('newListener', (event) => {
      if (nobody(event)) this.#native.setListener((fault) => this.emit('fault', fault))
    })
    emitter.on('removeListener', (event) => {
      if (nobody(event)) this.#native.setListener(undefined)
    })
  }

  /** Faults since the beginning, those that were forgotten too. */
  get total(): bigint {
    return this.#native.total()
  }

  /** The newest records, oldest first. */
  records(): DmaFault[] {
    return this.#native.records()
  }

  /** Forgets the records; the total stays. */
  clear(): void {
    this.#native.clear()
  }

  /** Sets how many records are kept. */
  keep(records: number): void {
    this.#native.setCapacity(u32(records, 'records'))
  }

  /** The records as text, one paragraph each. */
  explain(): string {
    return this.records()
      .map((fault) => fault.text)
      .join('\n')
  }
}
