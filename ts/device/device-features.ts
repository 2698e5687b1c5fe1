/** Features of a device (`VFIO_DEVICE_FEATURE`) by values: DMA logging, and payloads that only the driver knows. */
import { invalidArgValue, isErrno, outOfRange, VfioError } from '../errors.ts'
import { bytes as toBytes, list, oneOf, record, u32, u64, type U64 } from '../shape.ts'
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
} from '../uapi/constants.ts'
import { vfioDeviceFeature } from '../uapi/structs.ts'
import { bytesArgument } from './bytes-argument.ts'
import type { DeviceSession } from './device-session.ts'
import { reportDirtyPages, startDmaLogging } from './dma-logging.ts'
import { callerWithoutMemory } from './feature.ts'
import type { DmaLoggingOps } from './ops.ts'

const HEADER = vfioDeviceFeature.size
/** Pages that one report may cover: a bitmap of 256 MiB. */
const MAX_PAGES = 1n << 31n

/** Features whose payload holds pointers or descriptors: they have typed forms of their own. */
const TYPED: ReadonlyMap<number, string> = new Map([
  [VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, 'migration'],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_START, 'dmaLogging'],
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT, 'dmaLogging'],
])

/** What can be done with a feature. */
export type FeatureAccess = 'get' | 'set' | 'both'

const ACCESS: Readonly<Record<FeatureAccess, number>> = {
  get: VFIO_DEVICE_FEATURE_GET,
  set: VFIO_DEVICE_FEATURE_SET,
  both: VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET,
}

/** Features of one open device. Got from `device.features`. */
export class DeviceFeatures {
  readonly #session: DeviceSession

  /**
   * Made by the device.
   * @internal
   */
  constructor(session: DeviceSession) {
    this.#session = session
  }

  /** Tells whether the device has a feature and lets it be read, set or both. @throws {VfioError} EBADF closed */
  has(feature: number, access: FeatureAccess = 'get'): boolean {
    try {
      this.#call(
        feature,
        VFIO_DEVICE_FEATURE_PROBE | ACCESS[oneOf(access, ['get', 'set', 'both'], 'access')],
        new Uint8Array(),
      )
      return true
    } catch (error) {
      if (isErrno(error, 'ENOTTY') || isErrno(error, 'EINVAL')) return false
      throw error
    }
  }

  /** Reads `length` bytes of payload. @throws {VfioError} ENOTTY no such feature, EINVAL it cannot be read, or is longer */
  get(feature: number, length: number): Uint8Array {
    return this.#call(feature, VFIO_DEVICE_FEATURE_GET, new Uint8Array(u32(length, 'length')))
  }

  /** Sets a feature. @throws {VfioError} ENOTTY no such feature, EINVAL it cannot be set, or not to this */
  set(feature: number, payload: ArrayBufferView | ArrayBuffer = new Uint8Array()): void {
    this.#call(feature, VFIO_DEVICE_FEATURE_SET, toBytes(payload, 'payload'))
  }

  #call(feature: number, flags: number, payload: Uint8Array): Uint8Array {
    const number = u32(feature, 'feature') & VFIO_DEVICE_FEATURE_MASK
    const typed = TYPED.get(number)
    if (typed !== undefined && (flags & VFIO_DEVICE_FEATURE_PROBE) === 0) {
      throw invalidArgValue('feature', `is ${number}, which device.${typed} stands for`)
    }
    const bytes = new Uint8Array(HEADER + payload.byteLength)
    vfioDeviceFeature.encode({ argsz: bytes.byteLength, flags: flags | number }, bytes)
    bytes.set(payload, HEADER)
    this.#session.feature(bytesArgument(bytes), callerWithoutMemory)
    return bytes.subarray(HEADER)
  }
}

/** A range of device addresses whose writes are logged; length in bytes. */
export interface LoggedRange {
  iova: U64
  length: U64
}

/** A device's own log of the pages that it writes (`VFIO_DEVICE_FEATURE_DMA_LOGGING_*`). Got from `device.dmaLogging`. */
export class DeviceDmaLogging {
  readonly #session: DeviceSession

  /**
   * Made by the device.
   * @internal
   */
  constructor(session: DeviceSession) {
    this.#session = session
  }

  /**
   * Starts logging writes to `ranges`; returns the page size that the device chose, `pageSize` being a hint.
   * @throws {VfioError} ENOTTY the device does not log, EINVAL, E2BIG, EOVERFLOW the ranges, and what the device refuses with
   */
  start(ranges: readonly LoggedRange[], pageSize: U64 = 4096n): bigint {
    const checked = list(ranges, 'ranges').map((range) => {
      const { iova, length } = record(range, 'ranges[]')
      return { iova: u64(iova, 'iova'), length: u64(length, 'length') }
    })
    return startDmaLogging(this.#log(), checked.length, checked, u64(pageSize, 'pageSize'))
  }

  /** Stops logging. @throws {VfioError} ENOTTY */
  stop(): void {
    this.#log().stop()
  }

  /**
   * Tells which pages of a range were written since the last report: bit n % 8 of byte n / 8 stands for the nth page.
   * @throws {VfioError} ENOTTY, EINVAL the page size, EOVERFLOW the range, and what the device refuses with
   */
  report(range: LoggedRange & { pageSize?: U64 }): Uint8Array {
    const iova = u64(record(range, 'range').iova, 'iova')
    const length = u64(range.length, 'length')
    const pageSize = u64(range.pageSize ?? 4096n, 'pageSize')
    const log = this.#log()
    const pages = pageSize === 0n ? 0n : (length + pageSize - 1n) / pageSize
    if (pages > MAX_PAGES) throw outOfRange('length', `at most ${MAX_PAGES} pages`, length)
    const bits = new Uint8Array(Number((pages + 63n) / 64n) * 8)
    reportDirtyPages(log, { iova, length }, pageSize, {
      read: (offset, into) => into.set(bits.subarray(Number(offset), Number(offset) + into.byteLength)),
      write: (offset, from) => bits.set(from, Number(offset)),
    })
    return bits
  }

  #log(): DmaLoggingOps {
    const { dmaLogging } = this.#session.ops('VFIO_DEVICE_FEATURE')
    if (dmaLogging === undefined)
      throw new VfioError('ENOTTY', 'VFIO_DEVICE_FEATURE', { reason: 'the device logs no DMA' })
    return dmaLogging
  }
}
