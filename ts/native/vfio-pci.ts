/** Native vfio-pci as callers see it. */
import { invalidArgType } from '../errors.ts'
import { flag, u32, u64, type U64 } from '../shape.ts'
import { ERRNO, type ErrnoName } from '../uapi/errno.ts'
import type {
  NativeDeviceInfo,
  NativeDma,
  NativeDmaBuf,
  NativeFeatureArgument,
  NativeIrqFd,
  NativeIrqInfo,
  NativeIrqSet,
  NativePciFunction,
  NativeRegionInfo,
  NativeRegionMapping,
  NativeVfioPci,
  NativeVfioPciOptions,
} from './addon.ts'
import type { Binding, BindingIrqFd, BindingIrqRequest, BindingVfioPci } from './binding.ts'
import { DmaHandle } from './dma.ts'
import { EventFdHandle } from './event-fd.ts'
import { PciFunctionHandle } from './pci-function.ts'
import { RegionMappingHandle } from './region-mapping.ts'

const NEGATIVE_FD = -1_000_000

/** The one implementation of {@link NativeVfioPci}. */
export class VfioPciHandle implements NativeVfioPci {
  readonly name = 'vfio-pci'
  readonly pci: NativePciFunction
  readonly #raw: Binding
  readonly #owner: BindingVfioPci
  #handle: number

  constructor(raw: Binding, pci: NativePciFunction, options: NativeVfioPciOptions = {}) {
    const vga = flag(options.vga, 'options.vga', false)
    const atomics = u32(options.atomicCompleter ?? 0, 'options.atomicCompleter')
    this.pci = pci
    this.#raw = raw
    this.#owner = new raw.NativeVfioPci(PciFunctionHandle.handleOf(pci, 'pci'), vga, atomics)
    this.#handle = this.#owner.handle
  }

  /** The handle of `device` for a native call. @throws {TypeError} it is not ours */
  static handleOf(device: unknown, name: string): number {
    if (typeof device !== 'object' || device === null || !(#handle in device)) {
      throw invalidArgType(name, 'a native vfio-pci device', device)
    }
    return device.#handle
  }

  openDevice(dma: NativeDma | undefined): void {
    this.#owner.openDevice(dma === undefined ? undefined : DmaHandle.handleOf(dma, 'dma'))
  }

  closeDevice(): void {
    this.#owner.closeDevice()
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

  setIrqs(request: NativeIrqSet): void {
    this.#owner.setIrqs(irqRequest(request))
  }

  reset(): void {
    this.#owner.reset()
  }

  read(region: number, offset: U64, into: Uint8Array): number {
    return this.#raw.vfioPciRead(this.#handle, region, offset, into)
  }

  write(region: number, offset: U64, from: Uint8Array): number {
    return this.#raw.vfioPciWrite(this.#handle, region, offset, from)
  }

  submitRead(region: number, offset: U64, length: number): Promise<Uint8Array> {
    return this.#owner.submitRead(u32(region, 'region'), u64(offset, 'offset'), u32(length, 'length'))
  }

  submitWrite(region: number, offset: U64, from: Uint8Array): Promise<number> {
    return this.#owner.submitWrite(u32(region, 'region'), u64(offset, 'offset'), from)
  }

  mmap(region: number, offset: U64, length: U64): NativeRegionMapping {
    const mapping = this.#owner.mmap(u32(region, 'region'), u64(offset, 'offset'), u64(length, 'length'))
    return new RegionMappingHandle(this.#raw, mapping)
  }

  deviceFeature(flags: number, argument: NativeFeatureArgument): NativeDmaBuf | undefined {
    const thrown: unknown[] = []
    const attempt = <T>(run: () => T, failed: T): T => {
      try {
        return run()
      } catch (error) {
        thrown.push(error)
        return failed
      }
    }
    try {
      const shared = this.#owner.deviceFeature(u32(flags, 'flags'), u32(argument.length, 'argument.length'), {
        read: (offset, length) => attempt(() => argument.read(length, offset), undefined),
        write: (offset, data) => attempt(() => (argument.write(data, offset), true), false),
        event: (fd) => attempt(() => EventFdHandle.handleOf(argument.event(fd), 'event'), -ERRNO.EBADF),
      })
      return shared === null ? undefined : { ...shared, ranges: pairs(shared.ranges) }
    } catch (error) {
      throw thrown[0] ?? error
    }
  }

  ioeventfd(flags: number, offset: U64, data: U64, event: NativeIrqFd): void {
    this.#owner.ioeventfd(u32(flags, 'flags'), u64(offset, 'offset'), u64(data, 'data'), entryOf(event))
  }

  request(count: number): void {
    this.#owner.request(u32(count, 'count'))
  }

  reportError(): void {
    this.#owner.reportError()
  }

  close(): void {
    this.#handle = 0
    this.#owner.close()
  }
}

/** A request as the binding takes it. */
export function irqRequest(request: NativeIrqSet): BindingIrqRequest {
  const { bools, eventfds } = request
  if (bools !== undefined && !(bools instanceof Uint8Array)) throw invalidArgType('bools', 'a Uint8Array', bools)
  if (eventfds !== undefined && !Array.isArray(eventfds)) throw invalidArgType('eventfds', 'an array', eventfds)
  return {
    argsz: u32(request.argsz, 'argsz'),
    flags: u32(request.flags, 'flags'),
    index: u32(request.index, 'index'),
    start: u32(request.start, 'start'),
    count: u32(request.count, 'count'),
    ...(bools === undefined ? {} : { bools }),
    ...(eventfds === undefined ? {} : { events: eventfds.map(entryOf) }),
  }
}

/** An entry as the binding takes it. */
function entryOf(entry: NativeIrqFd): BindingIrqFd {
  if (entry === null || entry === -1) return 0
  if (typeof entry === 'number') {
    if (!Number.isInteger(entry) || entry >= 0)
      throw invalidArgType('event', 'an event, null or a negative number', entry)
    return NEGATIVE_FD + Math.max(entry, -1_000_000_000)
  }
  if (typeof entry === 'object' && 'errno' in entry) {
    const code = entry.errno as ErrnoName
    return -(ERRNO[code] ?? ERRNO.EBADF)
  }
  const handle = EventFdHandle.handleOf(entry, 'event')
  return handle === 0 ? -ERRNO.EBADF : handle
}

function pairs(flat: readonly bigint[]): NativeDmaBuf['ranges'] {
  const ranges: NativeDmaBuf['ranges'] = []
  for (let i = 0; i + 1 < flat.length; i += 2) ranges.push({ offset: flat[i] ?? 0n, length: flat[i + 1] ?? 0n })
  return ranges
}
