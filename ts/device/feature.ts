/**
 * `VFIO_DEVICE_FEATURE` as bytes: parses the request, checks it in the kernel's order and calls what the typed door calls.
 *
 * The core answers migration and DMA logging itself (`migration.ts`, `dma-logging.ts`); every other feature goes to the
 * device's `deviceFeature`, whose argument and size are those of the payload behind the header.
 */
import { VfioError } from '../errors.ts'
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
} from '../uapi/constants.ts'
import {
  vfioDeviceFeature,
  vfioDeviceFeatureDmaLoggingControl,
  vfioDeviceFeatureDmaLoggingRange,
  vfioDeviceFeatureDmaLoggingReport,
  vfioDeviceFeatureMigDataSize,
  vfioDeviceFeatureMigration,
  vfioDeviceFeatureMigState,
} from '../uapi/structs.ts'
import { reportDirtyPages, startDmaLogging, type DmaRange } from './dma-logging.ts'
import type { DeviceMigration } from './migration.ts'
import type { DmaLoggingOps, FeatureDescriptors, IoctlArgument, MigrationStream, VfioDeviceOps } from './ops.ts'

/** What the requests need of a device. */
export interface FeatureDevice {
  readonly ops: VfioDeviceOps
  /** Migration of the device, undefined where it does not migrate. */
  readonly migration: DeviceMigration | undefined
}

/** What the requests need of whoever asks. */
export interface FeatureCaller extends FeatureDescriptors {
  /** Copies from the caller's memory. @throws {VfioError} EFAULT */
  readMemory(address: bigint, into: Uint8Array): void
  /** Copies to the caller's memory. @throws {VfioError} EFAULT */
  writeMemory(address: bigint, from: Uint8Array): void
  /** Gives the caller a descriptor for a data stream. @throws {VfioError} EMFILE */
  installStream(stream: MigrationStream): number
  /** Takes a descriptor back that the caller could not be told about. */
  removeStream(fd: number): void
}

/** A caller whose payloads point nowhere, and who has no descriptors: what typed forms pass. */
export const callerWithoutMemory: FeatureCaller = {
  readMemory: (address) => {
    throw new VfioError('EFAULT', 'VFIO_DEVICE_FEATURE', { address })
  },
  writeMemory: (address) => {
    throw new VfioError('EFAULT', 'VFIO_DEVICE_FEATURE', { address })
  },
  installStream: () => {
    throw new VfioError('EOPNOTSUPP', 'VFIO_DEVICE_FEATURE')
  },
  removeStream: () => {},
  event: (fd) => {
    throw new VfioError('EBADF', 'VFIO_DEVICE_FEATURE', { reason: `there is no descriptor ${fd}` })
  },
  installRegion: () => {
    throw new VfioError('EOPNOTSUPP', 'VFIO_DEVICE_FEATURE')
  },
}

const GET = VFIO_DEVICE_FEATURE_GET
const SET = VFIO_DEVICE_FEATURE_SET
const PROBE = VFIO_DEVICE_FEATURE_PROBE
const HEADER = vfioDeviceFeature.size
const NAME = 'VFIO_DEVICE_FEATURE'

/**
 * Answers `VFIO_DEVICE_FEATURE`; returns the ioctl's value.
 *
 * @throws {VfioError} EFAULT, EINVAL a short argsz, unknown flags, GET with SET without PROBE; ENOTTY the device lacks the
 *   feature; EINVAL a direction that it lacks, neither GET nor SET, a short payload; then what the feature's own code throws
 */
export function deviceFeature(device: FeatureDevice, argument: IoctlArgument, caller: FeatureCaller): number {
  const { argsz, flags } = vfioDeviceFeature.decode(argument.read(HEADER))
  if (argsz < HEADER) throw invalid('argsz is less than the header')
  if ((flags & ~(VFIO_DEVICE_FEATURE_MASK | GET | SET | PROBE)) !== 0) throw invalid('unknown flags')
  if ((flags & PROBE) === 0 && (flags & GET) !== 0 && (flags & SET) !== 0)
    throw invalid('GET and SET exclude each other')
  const request: FeatureRequest = { flags, size: argsz - HEADER, payload: behindHeader(argument), caller }
  switch (flags & VFIO_DEVICE_FEATURE_MASK) {
    case VFIO_DEVICE_FEATURE_MIGRATION:
      return migrationFlags(migrationOf(device), request)
    case VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE:
      return migrationState(migrationOf(device), request)
    case VFIO_DEVICE_FEATURE_MIG_DATA_SIZE:
      return migrationDataSize(migrationOf(device), request)
    case VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2:
      return precopyInfoV2(device.migration, request)
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_START:
      return loggingStart(loggingOf(device), request)
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP:
      return loggingStop(loggingOf(device), request)
    case VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT:
      return loggingReport(loggingOf(device), request)
    default:
      if (device.ops.deviceFeature === undefined) throw lacking()
      return device.ops.deviceFeature(flags, request.payload, request.size, caller)
  }
}

/**
 * Checks the direction of a request as drivers do (`vfio_check_feature`); true where it is to be carried out, false where
 * PROBE only asked.
 *
 * @param supported `VFIO_DEVICE_FEATURE_GET`, `_SET` or both
 * @param needed bytes of payload
 * @throws {VfioError} EINVAL
 */
export function checkFeature(flags: number, size: number, supported: number, needed: number): boolean {
  if ((flags & (GET | SET) & ~supported) !== 0) throw invalid('the feature lacks this direction')
  if ((flags & PROBE) !== 0) return false
  if ((flags & (GET | SET)) === 0) throw invalid('neither GET nor SET nor PROBE')
  if (size < needed) throw invalid(`the payload has ${needed} bytes, argsz leaves ${size}`)
  return true
}

interface FeatureRequest {
  flags: number
  /** Bytes of payload that argsz admits. */
  size: number
  payload: IoctlArgument
  caller: FeatureCaller
}

function migrationFlags(migration: DeviceMigration, { flags, size, payload }: FeatureRequest): number {
  if (!checkFeature(flags, size, GET, vfioDeviceFeatureMigration.size)) return 0
  payload.write(vfioDeviceFeatureMigration.bytes({ flags: BigInt(migration.flags) }))
  return 0
}

function migrationState(migration: DeviceMigration, { flags, size, payload, caller }: FeatureRequest): number {
  if (!checkFeature(flags, size, GET | SET, vfioDeviceFeatureMigState.size)) return 0
  const { deviceState } = vfioDeviceFeatureMigState.decode(payload.read(vfioDeviceFeatureMigState.size))
  const answer = (state: number, dataFd: number) =>
    payload.write(vfioDeviceFeatureMigState.bytes({ deviceState: state, dataFd }))
  if ((flags & GET) !== 0) {
    answer(migration.state, -1)
    return 0
  }
  let stream: MigrationStream | undefined
  try {
    stream = migration.setState(deviceState)
  } catch (refusal) {
    answer(deviceState, -1)
    throw refusal
  }
  if (stream === undefined) answer(deviceState, -1)
  else returnDescriptor(stream, caller, (fd) => answer(deviceState, fd))
  return 0
}

/** Hands a stream over as a descriptor; a caller who cannot be told does not get it. */
function returnDescriptor(stream: MigrationStream, caller: FeatureCaller, tell: (fd: number) => void): void {
  let fd: number
  try {
    fd = caller.installStream(stream)
  } catch (refusal) {
    stream.release?.()
    throw refusal
  }
  try {
    tell(fd)
  } catch (refusal) {
    caller.removeStream(fd)
    throw refusal
  }
}

function migrationDataSize(migration: DeviceMigration, { flags, size, payload }: FeatureRequest): number {
  if (!checkFeature(flags, size, GET, vfioDeviceFeatureMigDataSize.size)) return 0
  payload.write(vfioDeviceFeatureMigDataSize.bytes({ stopCopyLength: migration.dataSize() }))
  return 0
}

function precopyInfoV2(migration: DeviceMigration | undefined, { flags, size }: FeatureRequest): number {
  if (migration === undefined || !migration.hasPreCopy) throw invalid('the device has no PRE_COPY')
  if (checkFeature(flags, size, SET, 0)) migration.precopyInfoV2 = true
  return 0
}

function loggingStart(log: DmaLoggingOps, { flags, size, payload, caller }: FeatureRequest): number {
  const codec = vfioDeviceFeatureDmaLoggingControl
  if (!checkFeature(flags, size, SET, codec.size)) return 0
  const control = codec.decode(payload.read(codec.size))
  const pageSize = startDmaLogging(
    log,
    control.numRanges,
    rangesAt(caller, control.ranges, control.numRanges),
    control.pageSize,
  )
  try {
    payload.write(codec.bytes({ ...control, pageSize }))
  } catch (refusal) {
    log.stop()
    throw refusal
  }
  return 0
}

function* rangesAt(caller: FeatureCaller, address: bigint, count: number): Generator<DmaRange> {
  const bytes = new Uint8Array(vfioDeviceFeatureDmaLoggingRange.size)
  for (let i = 0; i < count; i++) {
    caller.readMemory(BigInt.asUintN(64, address + BigInt(i * bytes.length)), bytes)
    yield vfioDeviceFeatureDmaLoggingRange.decode(bytes)
  }
}

function loggingStop(log: DmaLoggingOps, { flags, size }: FeatureRequest): number {
  if (checkFeature(flags, size, SET, 0)) log.stop()
  return 0
}

function loggingReport(log: DmaLoggingOps, { flags, size, payload, caller }: FeatureRequest): number {
  const codec = vfioDeviceFeatureDmaLoggingReport
  if (!checkFeature(flags, size, GET, codec.size)) return 0
  const { iova, length, pageSize, bitmap } = codec.decode(payload.read(codec.size))
  reportDirtyPages(log, { iova, length }, pageSize, {
    read: (offset, into) => caller.readMemory(BigInt.asUintN(64, bitmap + offset), into),
    write: (offset, from) => caller.writeMemory(BigInt.asUintN(64, bitmap + offset), from),
  })
  return 0
}

function migrationOf(device: FeatureDevice): DeviceMigration {
  if (device.migration === undefined) throw lacking()
  return device.migration
}

function loggingOf(device: FeatureDevice): DmaLoggingOps {
  if (device.ops.dmaLogging === undefined) throw lacking()
  return device.ops.dmaLogging
}

/** The argument as it lies behind the header. */
function behindHeader(argument: IoctlArgument): IoctlArgument {
  return {
    value: BigInt.asUintN(64, argument.value + BigInt(HEADER)),
    read: (length, offset = 0) => argument.read(length, HEADER + offset),
    write: (data, offset = 0) => argument.write(data, HEADER + offset),
  }
}

function lacking(): VfioError {
  return new VfioError('ENOTTY', NAME, { reason: 'the device lacks this feature' })
}

function invalid(reason: string): VfioError {
  return new VfioError('EINVAL', NAME, { reason })
}
