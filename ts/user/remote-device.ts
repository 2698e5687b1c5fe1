/** A device in another process, with the face of one in this. */
import { Device } from '../device/device-handle.ts'
import { DeviceSession } from '../device/device-session.ts'
import { EventFd } from '../device/event-fd.ts'
import { VfioDevice } from '../device/vfio-device.ts'
import { invalidArgType } from '../errors.ts'
import { HostMemory } from '../memory/host-memory.ts'
import { DMA_READ, DMA_WRITE, type NativeLoan, type NativeRemoteDevice } from '../native/addon.ts'
import { later, syscall } from '../native/syscall.ts'
import { flag, record, u32, u64, type U64 } from '../shape.ts'
import { remoteDetails, RemoteOps } from './remote-ops.ts'

/** Memory to lend to a device. Addresses, offsets and lengths are multiples of 4096. */
export interface RemoteMapping {
  /** Address at which the device sees it. */
  iova: U64
  memory: HostMemory
  /** Which part of the memory; default: all of it from `offset` on. */
  offset?: U64
  length?: U64
  /** The device may read it. */
  read: boolean
  /** The device may write it. */
  write: boolean
  /** Has the device ask by messages, even where the memory has a descriptor; default false. */
  byMessage?: boolean
}

/** A range of DMA addresses; length in bytes. */
export interface RemoteRange {
  iova: U64
  length: U64
}

/** A register that is written by signalling an event, without a message. */
export interface Doorbell {
  /** Where in the region. */
  readonly offset: bigint
  /** Bytes of the write; 0: any. */
  readonly width: number
  /** The value that it writes; absent: any. */
  readonly value?: bigint
  /** Signal it to ring. Closed with the device. */
  readonly event: EventFd
}

/**
 * A device behind a vfio-user socket: regions, interrupts and reset as of any device, and memory that it is lent.
 *
 * Plain calls wait for the server on this thread; the `…Async` forms do not, and are the only ones that reach a device which
 * this very thread emulates (the others throw EDEADLK). When the server goes, `disconnect` is emitted and calls fail with ENOTCONN.
 */
export class RemoteDevice extends Device {
  /** Path of the socket. */
  readonly path: string
  readonly #native: NativeRemoteDevice
  readonly #doorbells = new Map<number, Doorbell[]>()

  /**
   * Made by `connect()`.
   * @internal
   */
  constructor(path: string, native: NativeRemoteDevice) {
    const device = new VfioDevice(path, new RemoteOps(native))
    device.enter(0)
    super(DeviceSession.open(device, { kind: 'cdev', openDevice: () => undefined, closeDevice: () => {} }))
    this.path = path
    this.#native = native
    this.once('close', () => {
      for (const { event } of [...this.#doorbells.values()].flat()) event.close()
    })
    native.watchEnd(() => {
      if (!this.closed) this.emit('disconnect', native.endReason() ?? 'closed')
    })
  }

  /** Whether the server is there, as far as is known. */
  get connected(): boolean {
    return this.#native.isOpen
  }

  /**
   * Lends memory to the device: by its descriptor where it has one, so that the device reaches it directly, by messages otherwise.
   * @throws {TypeError} a value of the wrong shape
   * @throws {VfioError} EINVAL empty, wrapping or misaligned; EFAULT outside the memory, or an ArrayBuffer, which only this
   *   thread reaches; EEXIST something is lent there; what the server refuses with; EDEADLK, ENOTCONN, ETIMEDOUT; EBADF closed
   */
  mapDma(mapping: RemoteMapping): void {
    const loan = loanOf(mapping)
    syscall('VFIO_USER_DMA_MAP', () => this.#native.dmaMap(loan), remoteDetails)
  }

  /** As {@link mapDma}, without waiting here. */
  async mapDmaAsync(mapping: RemoteMapping): Promise<void> {
    const loan = loanOf(mapping)
    return later('VFIO_USER_DMA_MAP', () => this.#native.submitDmaMap(loan), remoteDetails)
  }

  /**
   * Takes memory back: exactly what was lent, or a range of several. The device does not reach it any more when this returns.
   * @throws {VfioError} EINVAL empty, wrapping or misaligned; what the server refuses with; EDEADLK, ENOTCONN, ETIMEDOUT; EBADF
   */
  unmapDma(range: RemoteRange): void {
    const { iova, length } = rangeOf(range)
    syscall('VFIO_USER_DMA_UNMAP', () => this.#native.dmaUnmap(iova, length), remoteDetails)
  }

  /** As {@link unmapDma}, without waiting here. */
  async unmapDmaAsync(range: RemoteRange): Promise<void> {
    const { iova, length } = rangeOf(range)
    return later('VFIO_USER_DMA_UNMAP', () => this.#native.submitDmaUnmap(iova, length), remoteDetails)
  }

  /** The registers of a region that are written by signalling an event (`VFIO_USER_DEVICE_GET_REGION_IO_FDS`). @throws {VfioError} EBADF */
  doorbells(region: number): readonly Doorbell[] {
    const index = u32(region, 'region')
    const known = this.#doorbells.get(index)
    if (known !== undefined) return known
    const told = syscall('VFIO_USER_DEVICE_GET_REGION_IO_FDS', () => this.#native.doorbells(index))
    const made = told.map((bell, at) => ({
      ...bell,
      event: EventFd.fromNative(syscall('eventfd', () => this.#native.doorbellEvent(index, at))),
    }))
    this.#doorbells.set(index, made)
    return made
  }
}

function loanOf(mapping: RemoteMapping): NativeLoan {
  const { memory, read, write } = record(mapping, 'mapping')
  if (!(memory instanceof HostMemory)) throw invalidArgType('mapping.memory', 'a HostMemory', memory)
  const offset = u64(mapping.offset ?? 0n, 'mapping.offset')
  const size = BigInt(memory.byteLength)
  const rest = offset < size ? size - offset : 0n
  return {
    iova: u64(mapping.iova, 'mapping.iova'),
    memory: memory.native,
    offset,
    length: mapping.length === undefined ? rest : u64(mapping.length, 'mapping.length'),
    access: (flag(read, 'mapping.read', false) ? DMA_READ : 0) | (flag(write, 'mapping.write', false) ? DMA_WRITE : 0),
    byMessage: flag(mapping.byMessage, 'mapping.byMessage', false),
  }
}

function rangeOf(range: RemoteRange): { iova: bigint; length: bigint } {
  const { iova, length } = record(range, 'range')
  return { iova: u64(iova, 'range.iova'), length: u64(length, 'range.length') }
}
