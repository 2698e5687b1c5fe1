/** The part of the addon that is vfio-user: devices served to other processes. See `addon.ts` for its manners. */
import type { NativeDma } from './addon-iommu.ts'
import type { NativeEventFd, NativeVfioPci } from './addon-pci.ts'

/** Settings of a vfio-user server; see `ServeOptions`. */
export interface NativeServeSettings {
  maxTransfer?: number
  maxMappings?: number
  patience?: number
  keepState?: boolean
  uid?: number
}

/** A request of a client to a served device. */
export interface NativeServedRequest {
  /** By which it is answered. */
  token: number
  kind: 'open' | 'close' | 'info' | 'region-info' | 'irq-info' | 'set-irqs' | 'reset' | 'read' | 'write' | 'dma-unmap'
  /** Region or interrupt index. */
  index: number
  /** Offset into the region, or address. */
  offset: bigint
  /** Bytes or interrupts; for `dma-unmap` one less than the bytes. */
  length: bigint
  /** Flags and first interrupt of `set-irqs`. */
  flags: number
  start: number
  /** What is to be written, or booleans. */
  data?: Uint8Array
  /** Entries of `set-irqs`: 1 an event to be taken, -1 none, below that the errno of its lookup plus one, negated. */
  events?: number[]
}

/** Something that happened to a server. */
export interface NativeServedEvent {
  kind: 'attached' | 'detached' | 'refused' | 'stopped'
  reason?: string
  pid?: number
  uid?: number
  minor?: number
}

/** A vfio-user server. Its event loop goes on until `stopped` was taken. */
export interface NativeServer {
  /** The next request; undefined: none, and the next one wakes. */
  nextRequest(): NativeServedRequest | undefined
  nextEvent(): NativeServedEvent | undefined
  /** The client's memory, for an `open` that was not answered yet. @throws EINVAL */
  takeDma(token: number, name: string): NativeDma
  /** An event of a `set-irqs` that was not answered yet. @throws EINVAL, and what its lookup failed with */
  takeEvent(token: number, entry: number): NativeEventFd
  /** Answers: `status` 0 or a negated errno. @throws EINVAL nobody waits for that */
  answer(token: number, status: number, numbers?: bigint[], data?: Uint8Array): void
  stop(): void
}

/** Starts servers. */
export interface NativeServerClass {
  /** `native`: the device itself, where it is native; then only `open` and `close` come as requests. @throws what listening is refused with */
  start(path: string, settings: NativeServeSettings, wake: () => void, native?: NativeVfioPci): NativeServer
}
