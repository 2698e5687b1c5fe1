/** Migration and DMA logging of a device in another process: the same callbacks as of one in this, by messages. */
import type { DmaLoggingOps, MigrationOps, MigrationStream } from '../device/ops.ts'
import type { NativeRemoteDevice } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import {
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_STATE_PRE_COPY,
  VFIO_DEVICE_STATE_RESUMING,
  VFIO_DEVICE_STATE_STOP_COPY,
} from '../uapi/constants.ts'
import { vfioDeviceFeatureMigState } from '../uapi/structs.ts'

const NAME = 'VFIO_DEVICE_FEATURE'
const LOGGING_HEAD = 16
const LOGGED_RANGE = 16
const REPORT_HEAD = 24
/** Pages that one report asks for. */
const PAGES_AT_ONCE = 1n << 20n
/** Bytes that one message of migration data carries. */
const CHUNK = 1 << 20

/** Migration of a device that migrates; `flags` are its `VFIO_MIGRATION_*`. */
export function remoteMigration(native: NativeRemoteDevice, flags: bigint): MigrationOps {
  const codec = vfioDeviceFeatureMigState
  let saving = false
  return {
    flags: Number(flags & 0xffff_ffffn),
    getState: () =>
      codec.decode(syscall(NAME, () => native.feature(GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, NOTHING, codec.size)))
        .deviceState,
    setState: (state) => {
      const data = codec.bytes({ deviceState: state, dataFd: -1 })
      syscall(NAME, () => native.feature(SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, data, codec.size))
      const goesOn = saving && state === VFIO_DEVICE_STATE_STOP_COPY
      saving = state === VFIO_DEVICE_STATE_PRE_COPY || state === VFIO_DEVICE_STATE_STOP_COPY
      if (saving) return goesOn ? undefined : savingStream(native)
      return state === VFIO_DEVICE_STATE_RESUMING ? resumingStream(native) : undefined
    },
  }
}

function savingStream(native: NativeRemoteDevice): MigrationStream {
  return { read: (length) => syscall('read', () => native.migrationRead(Math.min(length, CHUNK))) }
}

function resumingStream(native: NativeRemoteDevice): MigrationStream {
  return {
    write: (data) => {
      syscall('write', () => native.migrationWrite(data))
      return data.byteLength
    },
  }
}

/** The log of pages that a device writes, kept by its server. */
export function remoteDmaLogging(native: NativeRemoteDevice): DmaLoggingOps {
  let pageSize = 4096n
  return {
    start: (ranges, wanted) => {
      const data = new Uint8Array(LOGGING_HEAD + ranges.length * LOGGED_RANGE)
      const view = new DataView(data.buffer)
      view.setBigUint64(0, wanted, true)
      view.setUint32(8, ranges.length, true)
      ranges.forEach(({ iova, length }, i) => {
        view.setBigUint64(LOGGING_HEAD + i * LOGGED_RANGE, iova, true)
        view.setBigUint64(LOGGING_HEAD + i * LOGGED_RANGE + 8, length, true)
      })
      const start = SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START
      const answer = syscall(NAME, () => native.feature(start, data, data.byteLength))
      pageSize = answer.byteLength < 8 ? wanted : new DataView(answer.buffer, answer.byteOffset).getBigUint64(0, true)
      return pageSize
    },
    stop: () => void syscall(NAME, () => native.feature(SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP, NOTHING, 0)),
    readAndClear: (iova, length, mark) => {
      for (let done = 0n; done < length; done += PAGES_AT_ONCE * pageSize) {
        const rest = length - done
        report(native, iova + done, rest < PAGES_AT_ONCE * pageSize ? rest : PAGES_AT_ONCE * pageSize, pageSize, mark)
      }
    },
  }
}

function report(
  native: NativeRemoteDevice,
  iova: bigint,
  length: bigint,
  pageSize: bigint,
  mark: (iova: bigint, length: bigint) => void,
): void {
  const data = new Uint8Array(REPORT_HEAD)
  const view = new DataView(data.buffer)
  view.setBigUint64(0, iova, true)
  view.setBigUint64(8, length, true)
  view.setBigUint64(16, pageSize, true)
  const pages = (length + pageSize - 1n) / pageSize
  const room = REPORT_HEAD + Number((pages + 63n) / 64n) * 8
  const ask = GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT
  const bits = syscall(NAME, () => native.feature(ask, data, room)).subarray(REPORT_HEAD)
  for (let page = 0n; page < pages; page++) {
    const byte = bits[Number(page >> 3n)] ?? 0
    if (((byte >> Number(page & 7n)) & 1) !== 0) mark(iova + page * pageSize, pageSize)
  }
}

const GET = VFIO_DEVICE_FEATURE_GET
const SET = VFIO_DEVICE_FEATURE_SET
const NOTHING = new Uint8Array()
