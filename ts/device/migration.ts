/**
 * Migration of one device as its user sees it: the states, the data streams, the questions about both.
 *
 * One stands beside each device that migrates; the typed door uses it as it is, `feature.ts` and `migration-file.ts` speak
 * bytes over it.
 */
import { VfioError } from '../errors.ts'
import { VFIO_MIGRATION_PRE_COPY } from '../uapi/constants.ts'
import type { MigrationOps, MigrationStream, PrecopyInfo } from './ops.ts'

/** Migration of a device (`VFIO_DEVICE_FEATURE_MIGRATION` and its kin). */
export class DeviceMigration {
  readonly #ops: MigrationOps
  /** The user takes `flags` of the pre-copy info for an answer (`VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2`). */
  precopyInfoV2 = false

  constructor(ops: MigrationOps) {
    this.#ops = ops
  }

  /** `VFIO_MIGRATION_*`: which optional states the device knows. */
  get flags(): number {
    return this.#ops.flags
  }

  /** Tells whether the device can be saved while it runs. */
  get hasPreCopy(): boolean {
    return (this.flags & VFIO_MIGRATION_PRE_COPY) !== 0
  }

  /** The `VFIO_DEVICE_STATE_*` that the device is in. */
  get state(): number {
    return this.#ops.getState()
  }

  /**
   * Asks for a state; returns the stream that belongs to it, where a new one begins.
   *
   * STOP_COPY after PRE_COPY goes on with the stream that PRE_COPY gave.
   * @throws {VfioError} EINVAL no such state or no way to it, and what the device throws
   */
  setState(state: number): MigrationStream | undefined {
    return this.#ops.setState(state)
  }

  /** Bytes that stop-copy will transfer, an estimate. @throws {VfioError} ENOTTY the device does not tell */
  dataSize(): bigint {
    if (this.#ops.dataSize === undefined) {
      throw new VfioError('ENOTTY', 'VFIO_DEVICE_FEATURE_MIG_DATA_SIZE', { reason: 'the device does not tell' })
    }
    return this.#ops.dataSize()
  }
}

/**
 * Asks a stream what can be read before the device stops (`VFIO_MIG_GET_PRECOPY_INFO`).
 * @throws {VfioError} ENOTTY the stream tells nothing, EIO it tells nonsense, and what the device throws
 */
export function precopyInfo(stream: MigrationStream): PrecopyInfo {
  const name = 'VFIO_MIG_GET_PRECOPY_INFO'
  if (stream.precopyInfo === undefined) throw new VfioError('ENOTTY', name, { reason: 'nothing is saved by it' })
  const info: Partial<PrecopyInfo> | undefined = stream.precopyInfo()
  const { initialBytes, dirtyBytes, reinit = false } = info ?? {}
  if (!isCount(initialBytes) || !isCount(dirtyBytes) || typeof reinit !== 'boolean')
    throw new VfioError('EIO', name, { reason: 'the device told nonsense' })
  return { initialBytes, dirtyBytes, ...(reinit && { reinit }) }
}

function isCount(value: unknown): value is bigint {
  return typeof value === 'bigint' && value >= 0n && value < 1n << 64n
}
