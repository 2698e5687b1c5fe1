/** Native remote devices as callers see them. */
import { bytes, text, u32, u64, type U64 } from '../shape.ts'
import type {
  NativeConnect,
  NativeDeviceInfo,
  NativeDoorbell,
  NativeEventFd,
  NativeIrqInfo,
  NativeIrqSet,
  NativeLoan,
  NativeRegionInfo,
  NativeRegionMapping,
  NativeRemoteDevice,
} from './addon.ts'
import type { Binding, BindingLoan, BindingRemoteDevice } from './binding.ts'
import { EventFdHandle } from './event-fd.ts'
import { MemoryHandle } from './memory.ts'
import { RegionMappingHandle } from './region-mapping.ts'
import { irqRequest } from './vfio-pci.ts'
import { hasVfioUser, noVfioUser } from './vfio-user.ts'

class RemoteHandle implements NativeRemoteDevice {
  readonly #raw: Binding
  readonly #owner: BindingRemoteDevice

  constructor(raw: Binding, owner: BindingRemoteDevice) {
    this.#raw = raw
    this.#owner = owner
  }

  get isOpen(): boolean {
    return this.#owner.isOpen
  }

  watchEnd(ended: () => void): void {
    this.#owner.watchEnd(ended)
  }

  endReason(): string | undefined {
    return this.#owner.endReason() ?? undefined
  }

  getInfo(): NativeDeviceInfo {
    return this.#owner.getInfo()
  }

  getRegionInfo(index: number): NativeRegionInfo {
    return this.#owner.getRegionInfo(u32(index, 'index'))
  }

  getIrqInfo(index: number): NativeIrqInfo {
    return this.#owner.getIrqInfo(u32(index, 'index'))
  }

  mmap(region: number, offset: U64, length: U64): NativeRegionMapping {
    const mapping = this.#owner.mmap(u32(region, 'region'), u64(offset, 'offset'), u64(length, 'length'))
    return new RegionMappingHandle(this.#raw, mapping)
  }

  setIrqs(request: NativeIrqSet): void {
    this.#owner.setIrqs(irqRequest(request))
  }

  submitIrqs(request: NativeIrqSet): Promise<void> {
    return this.#owner.submitIrqs(irqRequest(request))
  }

  reset(): void {
    this.#owner.reset()
  }

  submitReset(): Promise<void> {
    return this.#owner.submitReset()
  }

  read(region: number, offset: U64, length: number): Uint8Array {
    return this.#owner.read(u32(region, 'region'), u64(offset, 'offset'), u32(length, 'length'))
  }

  submitRead(region: number, offset: U64, length: number): Promise<Uint8Array> {
    return this.#owner.submitRead(u32(region, 'region'), u64(offset, 'offset'), u32(length, 'length'))
  }

  write(region: number, offset: U64, from: Uint8Array): void {
    this.#owner.write(u32(region, 'region'), u64(offset, 'offset'), bytes(from, 'from'))
  }

  submitWrite(region: number, offset: U64, from: Uint8Array): Promise<void> {
    return this.#owner.submitWrite(u32(region, 'region'), u64(offset, 'offset'), bytes(from, 'from'))
  }

  dmaMap(loan: NativeLoan): void {
    this.#owner.dmaMap(loanOf(loan))
  }

  submitDmaMap(loan: NativeLoan): Promise<void> {
    return this.#owner.submitDmaMap(loanOf(loan))
  }

  dmaUnmap(iova: U64, length: U64): void {
    this.#owner.dmaUnmap(u64(iova, 'iova'), u64(length, 'length'))
  }

  submitDmaUnmap(iova: U64, length: U64): Promise<void> {
    return this.#owner.submitDmaUnmap(u64(iova, 'iova'), u64(length, 'length'))
  }

  migrationFlags(): bigint | undefined {
    return this.#owner.migrationFlags() ?? undefined
  }

  logsDma(): boolean {
    return this.#owner.logsDma()
  }

  doorbells(region: number): NativeDoorbell[] {
    return this.#owner.doorbells(u32(region, 'region')).map(({ offset, width, value }) => {
      return value === null || value === undefined ? { offset, width } : { offset, width, value }
    })
  }

  doorbellEvent(region: number, at: number): NativeEventFd {
    return new EventFdHandle(this.#raw, this.#owner.doorbellEvent(u32(region, 'region'), u32(at, 'at')))
  }

  feature(flags: number, data: Uint8Array, room: number): Uint8Array {
    return this.#owner.feature(u32(flags, 'flags'), bytes(data, 'data'), u32(room, 'room'))
  }

  migrationRead(size: number): Uint8Array {
    return this.#owner.migrationRead(u32(size, 'size'))
  }

  migrationWrite(data: Uint8Array): void {
    this.#owner.migrationWrite(bytes(data, 'data'))
  }

  close(): void {
    this.#owner.close()
  }
}

function loanOf({ iova, memory, offset, length, access, byMessage }: NativeLoan): BindingLoan {
  return {
    iova: u64(iova, 'iova'),
    memory: MemoryHandle.handleOf(memory, 'memory'),
    offset: u64(offset, 'offset'),
    length: u64(length, 'length'),
    access: u32(access, 'access'),
    byMessage,
  }
}

/** Connects through `raw`. */
export function connector(raw: Binding): NativeConnect {
  return async (path, patience) => {
    if (!hasVfioUser(raw)) throw noVfioUser('vfio_user_connect')
    return new RemoteHandle(raw, await raw.connectDevice(text(path, 'path'), u32(patience, 'patience')))
  }
}
