/** A region of a device: BAR, ROM, configuration space, VGA, or one that the device adds. */
import { VfioError } from '../errors.ts'
import { bytes as toBytes, flag, record, u32, u64, type U64 } from '../shape.ts'
import {
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../uapi/constants.ts'
import type { DeviceSession } from './device-session.ts'
import type { RegionInfo } from './ops.ts'
import { regionCapabilities, type RegionCapabilities } from './region-capability.ts'
import { RegionMap } from './region-map.ts'

/** Which part of a region to map; default all of it, as the region allows. */
export interface RegionMapRequest {
  offset?: U64
  length?: U64
  read?: boolean
  write?: boolean
}

type Width = 1 | 2 | 4 | 8

interface Word {
  view: DataView
  bytes: Readonly<Record<Width, Uint8Array>>
}

function makeWord(): Word {
  const buffer = new ArrayBuffer(8)
  const first = (width: Width): Uint8Array => new Uint8Array(buffer, 0, width)
  return { view: new DataView(buffer), bytes: { 1: first(1), 2: first(2), 4: first(4), 8: first(8) } }
}

/** A region; offsets count from its start, values are little endian. */
export class Region {
  readonly index: number
  /** What `VFIO_DEVICE_GET_REGION_INFO` tells: flags, size in bytes, place in the device file. */
  readonly info: RegionInfo
  readonly #session: DeviceSession
  #spare: Word | undefined

  /**
   * Made by `device.region(index)`. @throws {VfioError} EINVAL no such region
   * @internal
   */
  constructor(session: DeviceSession, index: number) {
    this.#session = session
    this.index = index
    this.info = session.regionInfo(index)
  }

  /** Size in bytes; 0 where the device has no such BAR. */
  get size(): bigint {
    return this.info.size
  }

  /** Whether it can be read. */
  get readable(): boolean {
    return (this.info.flags & VFIO_REGION_INFO_FLAG_READ) !== 0
  }

  /** Whether it can be written. */
  get writable(): boolean {
    return (this.info.flags & VFIO_REGION_INFO_FLAG_WRITE) !== 0
  }

  /** Whether a part of it, at least, can be mapped. */
  get mappable(): boolean {
    return (this.info.flags & VFIO_REGION_INFO_FLAG_MMAP) !== 0
  }

  /** The capability chain, decoded. */
  get capabilities(): RegionCapabilities {
    return regionCapabilities(this.info.capabilities)
  }

  /**
   * Reads into `into` and returns the number of bytes, or reads `length` bytes and returns them; at the end of the region
   * fewer than asked for.
   * @throws {VfioError} EINVAL, EIO the device does not answer, EFAULT, EAGAIN it answers later (use {@link readAsync})
   */
  read(offset: U64, into: ArrayBufferView | ArrayBuffer | SharedArrayBuffer): number
  read(offset: U64, length: number): Uint8Array
  read(offset: U64, target: ArrayBufferView | ArrayBuffer | SharedArrayBuffer | number): number | Uint8Array {
    const at = u64(offset, 'offset')
    if (typeof target !== 'number') return this.#session.read(this.index, at, toBytes(target, 'into'))
    const into = new Uint8Array(u32(target, 'length'))
    return into.subarray(0, this.#session.read(this.index, at, into))
  }

  /** Reads `length` bytes, from devices too that answer later. @throws {VfioError} as {@link read} */
  async readAsync(offset: U64, length: number): Promise<Uint8Array> {
    const at = u64(offset, 'offset')
    const into = new Uint8Array(u32(length, 'length'))
    return into.subarray(0, await this.#session.readAsync(this.index, at, into))
  }

  /** Writes bytes and returns how many were taken. @throws {VfioError} EINVAL, EIO, EFAULT */
  write(offset: U64, from: ArrayBufferView | ArrayBuffer | SharedArrayBuffer): number {
    return this.#session.write(this.index, u64(offset, 'offset'), toBytes(from, 'from'))
  }

  /** Writes bytes and waits until the device is done with them. @throws {VfioError} as {@link write} */
  async writeAsync(offset: U64, from: ArrayBufferView | ArrayBuffer | SharedArrayBuffer): Promise<number> {
    return this.#session.writeAsync(this.index, u64(offset, 'offset'), toBytes(from, 'from'))
  }

  /** Reads one byte. @throws {VfioError} as {@link read}, EIO the region ends there */
  readU8(offset: U64): number {
    return this.#load(offset, 1).getUint8(0)
  }

  /** Reads two bytes. @throws {VfioError} as {@link read}, EIO the region ends there */
  readU16(offset: U64): number {
    return this.#load(offset, 2).getUint16(0, true)
  }

  /** Reads four bytes. @throws {VfioError} as {@link read}, EIO the region ends there */
  readU32(offset: U64): number {
    return this.#load(offset, 4).getUint32(0, true)
  }

  /** Reads eight bytes. @throws {VfioError} as {@link read}, EIO the region ends there */
  readU64(offset: U64): bigint {
    return this.#load(offset, 8).getBigUint64(0, true)
  }

  /** Writes one byte. @throws {VfioError} as {@link write}, EIO the region ends there */
  writeU8(offset: U64, value: number): void {
    const bits = u32(value, 'value')
    this.#store(offset, 1, (view) => view.setUint8(0, bits))
  }

  /** Writes two bytes. @throws {VfioError} as {@link write}, EIO the region ends there */
  writeU16(offset: U64, value: number): void {
    const bits = u32(value, 'value')
    this.#store(offset, 2, (view) => view.setUint16(0, bits, true))
  }

  /** Writes four bytes. @throws {VfioError} as {@link write}, EIO the region ends there */
  writeU32(offset: U64, value: number): void {
    const bits = u32(value, 'value')
    this.#store(offset, 4, (view) => view.setUint32(0, bits, true))
  }

  /** Writes eight bytes. @throws {VfioError} as {@link write}, EIO the region ends there */
  writeU64(offset: U64, value: U64): void {
    const bits = u64(value, 'value')
    this.#store(offset, 8, (view) => view.setBigUint64(0, bits, true))
  }

  /** Maps a part of the region. @throws {VfioError} EINVAL it cannot be mapped, or not so */
  mmap(request: RegionMapRequest = {}): RegionMap {
    const offset = u64(record(request, 'request').offset ?? 0n, 'offset')
    const rest = this.info.size > offset ? this.info.size - offset : 0n
    const length = u64(request.length ?? rest, 'length')
    const access = {
      read: flag(request.read, 'read', this.readable),
      write: flag(request.write, 'write', this.writable),
      shared: true,
    }
    return new RegionMap(this.#session.mmap(this.index, offset, length, access))
  }

  #load(offset: U64, width: Width): DataView {
    const at = u64(offset, 'offset')
    const word = this.#take()
    const got = this.#session.read(this.index, at, word.bytes[width])
    this.#spare = word
    if (got !== width) throw this.#short('read', at)
    return word.view
  }

  #store(offset: U64, width: Width, set: (view: DataView) => void): void {
    const at = u64(offset, 'offset')
    const word = this.#take()
    set(word.view)
    const taken = this.#session.write(this.index, at, word.bytes[width])
    this.#spare = word
    if (taken !== width) throw this.#short('write', at)
  }

  /** A buffer for one access; a device model that calls back in gets another. */
  #take(): Word {
    const word = this.#spare ?? makeWord()
    this.#spare = undefined
    return word
  }

  #short(operation: string, address: bigint): VfioError {
    return new VfioError('EIO', operation, { address, reason: `region ${this.index} ends there` })
  }
}
