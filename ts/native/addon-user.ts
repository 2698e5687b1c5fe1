/** The part of the addon that is vfio-user: devices served to other processes, and theirs. See `addon.ts` for its manners. */
import type { U64 } from '../shape.ts'
import type { NativeDma } from './addon-iommu.ts'
import type { NativeMemory } from './addon-memory.ts'
import type {
  NativeDeviceInfo,
  NativeEventFd,
  NativeIrqInfo,
  NativeIrqSet,
  NativeRegionInfo,
  NativeRegionMapping,
  NativeVfioPci,
} from './addon-pci.ts'

/** Settings of a vfio-user server; see `ServeOptions`. */
export interface NativeServeSettings {
  maxTransfer?: number
  maxMappings?: number
  patience?: number
  answerWithin?: number
  keepState?: boolean
  uid?: number
}

/** A request of a client to a served device. */
export interface NativeServedRequest {
  /** By which it is answered. */
  token: number
  kind:
    | 'open'
    | 'close'
    | 'info'
    | 'region-info'
    | 'irq-info'
    | 'set-irqs'
    | 'reset'
    | 'read'
    | 'write'
    | 'dma-unmap'
    | 'feature'
    | 'migration-read'
    | 'migration-write'
  /** Region or interrupt index. */
  index: number
  /** Offset into the region, or address. */
  offset: bigint
  /** Bytes or interrupts; for `dma-unmap` one less than the bytes. */
  length: bigint
  /** Flags of `set-irqs` and `feature`, first interrupt of `set-irqs`. */
  flags: number
  start: number
  /** What is to be written, booleans, or the payload of a feature. */
  data?: Uint8Array
  /** Entries of `set-irqs`: 1 an event to be taken, -1 none, below that the errno of its lookup plus one, negated. */
  events?: number[]
}

/** What of a device needs no JavaScript. */
export interface NativeServedLayout {
  /** The device wants to know of memory that goes. */
  hearsUnmaps: boolean
  memory: { region: number; offset: bigint; length: bigint; memory: NativeMemory; memoryOffset: bigint }[]
  doorbells: { region: number; offset: bigint; width: number; value?: bigint; event: NativeEventFd }[]
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
  /** Answers an `open` that succeeded. @throws EINVAL a senseless layout, EBADF closed memory or events */
  answerOpen(token: number, layout: NativeServedLayout): void
  /** Answers: `status` 0 or a negated errno. Nothing happens where nobody waits any more. */
  answer(token: number, status: number, numbers?: bigint[], data?: Uint8Array): void
  stop(): void
}

/** Starts servers. */
export interface NativeServerClass {
  /** `native`: the device itself, where it is native; then only `open` and `close` come as requests. @throws what listening is refused with */
  start(path: string, settings: NativeServeSettings, wake: () => void, native?: NativeVfioPci): NativeServer
}

/** A part of memory to lend to a remote device; `access` is `DMA_READ | DMA_WRITE`. */
export interface NativeLoan {
  iova: U64
  memory: NativeMemory
  offset: U64
  length: U64
  access: number
  /** By messages even where the memory has a descriptor. */
  byMessage: boolean
}

/** A register of a remote device that is written by signalling an event. */
export interface NativeDoorbell {
  offset: bigint
  /** Bytes of the write; 0: any. */
  width: number
  /** The value; absent: any. */
  value?: bigint
}

/**
 * A device behind a socket. `submit…` give promises, which reject with errors whose `code` is the errno's name; the others wait
 * for the server on this thread and answer EDEADLK where this very thread emulates the device. All may answer ENOTCONN the
 * connection has ended, ETIMEDOUT, EPROTO the server makes no sense, and what the server refuses with.
 */
export interface NativeRemoteDevice {
  /** Whether the connection stands, as far as is known. */
  readonly isOpen: boolean
  /** Runs once the connection has ended, at a turn of this thread's loop. It does not keep the loop alive. */
  watchEnd(ended: () => void): void
  /** Why the connection has ended; undefined: it has not, or was closed here. */
  endReason(): string | undefined
  getInfo(): NativeDeviceInfo
  getRegionInfo(index: number): NativeRegionInfo
  getIrqInfo(index: number): NativeIrqInfo
  /** Maps memory behind a region. @throws EINVAL the server gave no descriptor for it */
  mmap(region: number, offset: U64, length: U64): NativeRegionMapping
  setIrqs(request: NativeIrqSet): void
  submitIrqs(request: NativeIrqSet): Promise<void>
  reset(): void
  submitReset(): Promise<void>
  read(region: number, offset: U64, length: number): Uint8Array
  submitRead(region: number, offset: U64, length: number): Promise<Uint8Array>
  write(region: number, offset: U64, from: Uint8Array): void
  submitWrite(region: number, offset: U64, from: Uint8Array): Promise<void>
  /** @throws EINVAL empty, wrapping or misaligned; EFAULT outside the memory, or memory of this thread only; EEXIST */
  dmaMap(loan: NativeLoan): void
  submitDmaMap(loan: NativeLoan): Promise<void>
  /** @throws EINVAL empty, wrapping or misaligned */
  dmaUnmap(iova: U64, length: U64): void
  submitDmaUnmap(iova: U64, length: U64): Promise<void>
  /** `VFIO_MIGRATION_*` of a device that migrates. */
  migrationFlags(): bigint | undefined
  /** Whether the server logs the pages that the device writes. */
  logsDma(): boolean
  doorbells(region: number): NativeDoorbell[]
  /** The event of the `at`th doorbell. @throws EINVAL there is none */
  doorbellEvent(region: number, at: number): NativeEventFd
  /** `VFIO_DEVICE_FEATURE` with the payload `data`; the answer's payload has at most `room` bytes. @throws EMSGSIZE it has more */
  feature(flags: number, data: Uint8Array, room: number): Uint8Array
  migrationRead(size: number): Uint8Array
  migrationWrite(data: Uint8Array): void
  /** Idempotent. */
  close(): void
}

/** Connects to the server at `path`; `patience` is how many milliseconds it may take over a reply. */
export type NativeConnect = (path: string, patience: number) => Promise<NativeRemoteDevice>
