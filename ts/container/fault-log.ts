/** Refused DMA, as records to read and events to listen to. */
import { EventEmitter } from 'node:events'
import { u32 } from '../shape.ts'
import type { IovaRange } from './dma-mapper.ts'
import type { NativeFaultLog, NativeFaultReason } from '../native/addon.ts'

/** A refused DMA. */
export interface DmaFault {
  /** Number of the fault since the log began, from 1. */
  readonly sequence: bigint
  /** Name of the device. */
  readonly device: string
  readonly iova: bigint
  /** Bytes that were to be accessed. */
  readonly length: bigint
  readonly access: 'read' | 'write'
  readonly reason: NativeFaultReason
  /** The nearest mapping below the address, if any. */
  readonly below?: IovaRange
  /** The nearest mapping above. */
  readonly above?: IovaRange
  /** What last mapped or unmapped the address, and how many changes came later. */
  readonly lastEvent?: { kind: 'map' | 'unmap'; start: bigint; last: bigint; ago: bigint }
  /** The record as one or more sentences. */
  readonly text: string
}

/** Events of a fault log. */
export interface FaultEvents {
  /** A DMA was refused; told at the next turn of the event loop. */
  fault: [fault: DmaFault]
}

/** The newest refused DMAs of one IOMMU. Listen with `on('fault')`, or read the records afterwards. */
export class FaultLog extends EventEmitter<FaultEvents> {
  readonly #native: NativeFaultLog

  /**
   * Made by the container.
   * @internal
   */
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
