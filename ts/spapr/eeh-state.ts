/**
 * Error handling of one endpoint (EEH): frozen, thawed step by step, or under reset.
 *
 * What is stopped is the native endpoint's knowledge, since a refused DMA stops it at once; who is under reset is known here.
 * Source: `Documentation/driver-api/vfio.rst`, "PPC64 sPAPR implementation note", 4).
 */
import { VfioError } from '../errors.ts'
import { STOPPED_DMA, STOPPED_IO, type NativeEndpoint } from '../native/spapr-addon.ts'
import {
  VFIO_EEH_PE_CONFIGURE,
  VFIO_EEH_PE_DISABLE,
  VFIO_EEH_PE_ENABLE,
  VFIO_EEH_PE_GET_STATE,
  VFIO_EEH_PE_INJECT_ERR,
  VFIO_EEH_PE_RESET_DEACTIVATE,
  VFIO_EEH_PE_RESET_FUNDAMENTAL,
  VFIO_EEH_PE_RESET_HOT,
  VFIO_EEH_PE_STATE_NORMAL,
  VFIO_EEH_PE_STATE_RESET,
  VFIO_EEH_PE_STATE_STOPPED,
  VFIO_EEH_PE_STATE_STOPPED_DMA,
  VFIO_EEH_PE_STATE_UNAVAIL,
  VFIO_EEH_PE_UNFREEZE_DMA,
  VFIO_EEH_PE_UNFREEZE_IO,
} from '../uapi/constants.ts'
import { injects, type EehFirmware } from './eeh-firmware.ts'

/** An error to inject: `EEH_ERR_TYPE_*`, `EEH_ERR_FUNC_*`, and which addresses it hits. */
export interface EehError {
  type: number
  func: number
  addr: bigint
  mask: bigint
}

const OPERATION = 'VFIO_EEH_PE_OP'
const LAST_FUNCTION = 19
const LAST_TYPE = 1
const BOTH = STOPPED_IO | STOPPED_DMA

/** What the machine remembers of an endpoint, whoever has it. */
export interface EndpointRecord {
  /** The endpoint above is being recovered by the host: this one has to wait. */
  parentRecovering: boolean
  /** It is broken for good, until the machine restarts. */
  broken: boolean
  /** Times that it was cut off while others had it. */
  earlierFreezes: bigint
}

/** The state machine of one endpoint. */
export class EehState {
  readonly #endpoint: NativeEndpoint
  readonly #firmware: EehFirmware
  readonly #record: EndpointRecord
  readonly #resetDevices: () => void
  #underReset = false

  constructor(endpoint: NativeEndpoint, firmware: EehFirmware, record: EndpointRecord, resetDevices: () => void) {
    this.#endpoint = endpoint
    this.#firmware = firmware
    this.#record = record
    this.#resetDevices = resetDevices
    if (record.broken) endpoint.stopped = BOTH
  }

  /** Whether registers answer with ones, and take nothing. */
  get registersStopped(): boolean {
    return (this.#endpoint.stopped & STOPPED_IO) !== 0
  }

  /** Times that errors cut it off, earlier owners included. */
  get freezes(): bigint {
    return this.#record.earlierFreezes + this.#endpoint.freezes()
  }

  /** Whether it is cut off for good: broken, or frozen more often than the machine puts up with. */
  get failed(): boolean {
    const { mostFreezes } = this.#firmware
    if (mostFreezes !== undefined && this.freezes > BigInt(mostFreezes)) this.#record.broken = true
    return this.#record.broken
  }

  /** The state, `VFIO_EEH_PE_STATE_*`. */
  get state(): number {
    if (this.failed || this.#record.parentRecovering) return VFIO_EEH_PE_STATE_UNAVAIL
    if (this.#underReset) return VFIO_EEH_PE_STATE_RESET
    switch (this.#endpoint.stopped & BOTH) {
      case 0:
        return VFIO_EEH_PE_STATE_NORMAL
      case BOTH:
        return VFIO_EEH_PE_STATE_STOPPED
      case STOPPED_DMA:
        return VFIO_EEH_PE_STATE_STOPPED_DMA
      default:
        // Memory without registers: nothing that could be used.
        return VFIO_EEH_PE_STATE_UNAVAIL
    }
  }

  /** Does an operation, `VFIO_EEH_PE_*`. @throws {VfioError} EINVAL unknown, EIO, ERANGE */
  operate(op: number, error?: () => EehError): number {
    switch (op) {
      case VFIO_EEH_PE_DISABLE:
      case VFIO_EEH_PE_ENABLE:
      case VFIO_EEH_PE_CONFIGURE:
        return 0
      case VFIO_EEH_PE_UNFREEZE_IO:
        return this.#thaw(STOPPED_IO)
      case VFIO_EEH_PE_UNFREEZE_DMA:
        return this.#thaw(STOPPED_DMA)
      case VFIO_EEH_PE_GET_STATE:
        return this.state
      case VFIO_EEH_PE_RESET_DEACTIVATE:
        this.#requireHope()
        this.recover()
        return 0
      case VFIO_EEH_PE_RESET_HOT:
        return this.#reset()
      case VFIO_EEH_PE_RESET_FUNDAMENTAL:
        if (!this.#firmware.fundamentalReset) throw refused('EIO', 'the slot has no fundamental reset')
        return this.#reset()
      case VFIO_EEH_PE_INJECT_ERR:
        if (error === undefined) throw refused('EINVAL', 'there is no error to inject')
        this.inject(error())
        return 0
      default:
        throw refused('EINVAL', `there is no operation ${op}`)
    }
  }

  /** Cuts the endpoint off, as an error does. */
  freeze(): void {
    if (this.#firmware.freezing) this.#endpoint.freeze()
  }

  /** Cuts the endpoint off for good. */
  fail(): void {
    this.#record.broken = true
    this.#endpoint.stopped = BOTH
  }

  /** Lets the firmware make an error. @throws {VfioError} EINVAL, ERANGE, EIO */
  inject({ type, func }: EehError): void {
    if (func > LAST_FUNCTION) throw refused('EINVAL', `there is no function ${func} to fail`)
    if (type > LAST_TYPE) throw refused('ERANGE', `there is no error of type ${type}`)
    if (!injects(this.#firmware, func)) throw refused('EIO', `the firmware makes no errors of function ${func}`)
    this.freeze()
  }

  /** Ends a reset and whatever was cut off: everything works, unless it is broken for good. */
  recover(): void {
    this.#underReset = false
    if (!this.failed) this.#endpoint.stopped = 0
  }

  #requireHope(): void {
    if (this.failed) {
      throw refused('EIO', 'the endpoint has failed for good', 'take its devices out, or restart the machine')
    }
  }

  #thaw(what: number): number {
    this.#requireHope()
    if (this.#underReset) throw refused('EIO', 'the endpoint is under reset', 'end the reset first')
    this.#endpoint.stopped &= ~what
    return 0
  }

  #reset(): number {
    this.#requireHope()
    if (this.#firmware.freezing) {
      // Nothing may reach the devices while they are being reset.
      this.#endpoint.stopped = BOTH
      this.#underReset = true
    }
    this.#resetDevices()
    return 0
  }
}

function refused(code: 'EINVAL' | 'EIO' | 'ERANGE', reason: string, remedy?: string): VfioError {
  return new VfioError(code, OPERATION, remedy === undefined ? { reason } : { reason, remedy })
}
