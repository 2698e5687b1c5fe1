/**
 * The migration states of a device and the arcs between them, as a state machine that a device model inherits.
 *
 * A user asks for a state; the machine walks there one arc at a time, and the model's {@link MigrationMachine.step}
 * carries each arc out. A walk opens a data stream on its last arc only, and never saves twice in a row: that, not a
 * table, is what decides the way. Source: `enum vfio_device_mig_state`, `vfio_mig_get_next_state()`.
 */
import { VfioError } from '../errors.ts'
import {
  VFIO_DEVICE_STATE_ERROR as ERROR,
  VFIO_DEVICE_STATE_NR,
  VFIO_DEVICE_STATE_PRE_COPY as PRE_COPY,
  VFIO_DEVICE_STATE_PRE_COPY_P2P as PRE_COPY_P2P,
  VFIO_DEVICE_STATE_RESUMING as RESUMING,
  VFIO_DEVICE_STATE_RUNNING as RUNNING,
  VFIO_DEVICE_STATE_RUNNING_P2P as RUNNING_P2P,
  VFIO_DEVICE_STATE_STOP as STOP,
  VFIO_DEVICE_STATE_STOP_COPY as STOP_COPY,
  VFIO_MIGRATION_P2P as P2P,
  VFIO_MIGRATION_PRE_COPY as WITH_PRE_COPY,
  VFIO_MIGRATION_STOP_COPY as WITH_STOP_COPY,
} from '../uapi/constants.ts'
import type { MigrationOps, MigrationStream } from './ops.ts'

/** An arc that a model carries out: where it leads, and whether a data stream begins on it. */
interface Arc {
  readonly to: number
  readonly opens?: true
}

/** Arcs of a device with every optional state; of two ways of equal length the one whose first arc stands first is taken. */
const ARCS: ReadonlyMap<number, readonly Arc[]> = new Map([
  [STOP, [{ to: RUNNING_P2P }, { to: STOP_COPY, opens: true }, { to: RESUMING, opens: true }]],
  [RUNNING, [{ to: RUNNING_P2P }, { to: PRE_COPY, opens: true }]],
  [STOP_COPY, [{ to: STOP }]],
  [RESUMING, [{ to: STOP }]],
  [RUNNING_P2P, [{ to: STOP }, { to: RUNNING }, { to: PRE_COPY_P2P, opens: true }]],
  [PRE_COPY, [{ to: RUNNING }, { to: PRE_COPY_P2P }]],
  [PRE_COPY_P2P, [{ to: RUNNING_P2P }, { to: PRE_COPY }, { to: STOP_COPY }]],
])

/** `VFIO_MIGRATION_*` flags that a state needs. */
const NEEDS: ReadonlyMap<number, number> = new Map([
  [STOP, WITH_STOP_COPY],
  [RUNNING, WITH_STOP_COPY],
  [STOP_COPY, WITH_STOP_COPY],
  [RESUMING, WITH_STOP_COPY],
  [RUNNING_P2P, WITH_STOP_COPY | P2P],
  [PRE_COPY, WITH_STOP_COPY | WITH_PRE_COPY],
  [PRE_COPY_P2P, WITH_STOP_COPY | P2P | WITH_PRE_COPY],
])

const NAMES = ['ERROR', 'STOP', 'RUNNING', 'STOP_COPY', 'RESUMING', 'RUNNING_P2P', 'PRE_COPY', 'PRE_COPY_P2P'] as const

/** Names a `VFIO_DEVICE_STATE_*`, for messages. */
export function migrationStateName(state: number): string {
  return NAMES[state] ?? `state ${state}`
}

/** Tells whether a device with these `VFIO_MIGRATION_*` flags knows a state. ERROR is known to all, and nobody may ask for it. */
export function hasMigrationState(flags: number, state: number): boolean {
  if (state === ERROR) return true
  const needed = NEEDS.get(state)
  return needed !== undefined && (flags & needed) === needed
}

/**
 * Gives the states that lead from `from` to `to`, the last included (`vfio_mig_get_next_state`, until it arrives).
 *
 * @param flags `VFIO_MIGRATION_*`; states that the device lacks are stepped over.
 * @throws {VfioError} EINVAL a state that is none or that the device lacks, ERROR as either end, STOP_COPY to a PRE_COPY
 */
export function migrationPath(flags: number, from: number, to: number): readonly number[] {
  for (const state of [from, to]) {
    if (!hasMigrationState(flags, state))
      throw refused(from, to, `a device with flags 0x${flags.toString(16)} has no ${migrationStateName(state)}`)
  }
  if (from === ERROR || to === ERROR) throw refused(from, to, 'no arc touches ERROR; a reset leads out of it')
  const whole = WAYS.get(from * VFIO_DEVICE_STATE_NR + to)
  if (whole === undefined) throw refused(from, to, 'saving ends in STOP before it may begin again')
  return whole.filter((state) => hasMigrationState(flags, state))
}

/** A device model's migration, arc by arc. Inherit it and give `flags`, `dataSize` and `step`. */
export abstract class MigrationMachine implements MigrationOps {
  abstract readonly flags: number
  #state: number = RUNNING
  #walking = false
  #resetAsked = false

  /** Bytes that stop-copy needs (`VFIO_DEVICE_FEATURE_MIG_DATA_SIZE`). */
  abstract dataSize(): bigint

  /**
   * Carries one arc out; returns the stream that begins on it. What it throws leaves the device in `from`.
   * @throws {VfioError} any errno
   */
  protected abstract step(from: number, to: number): MigrationStream | undefined

  /**
   * Runs when the device has arrived in a state, those on the way too; what was held back while it stood still can go on. What it
   * throws ends the walk there.
   */
  protected entered(_state: number): void {}

  /** Ends every stream, as a reset does. */
  protected abstract endStreams(): void

  /** The `VFIO_DEVICE_STATE_*` that the device is in. */
  getState(): number {
    return this.#state
  }

  /**
   * Walks to `state` (`VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE`); returns the stream that its last arc opened.
   *
   * A step that fails stops the walk in the state reached so far.
   * @throws {VfioError} EINVAL no such way, EBUSY called from within a step, and what the steps throw
   */
  setState(state: number): MigrationStream | undefined {
    if (this.#walking)
      throw new VfioError('EBUSY', 'VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE', {
        reason: 'the device is changing its state',
      })
    if (state === this.#state) return undefined
    let stream: MigrationStream | undefined
    this.#walking = true
    try {
      for (const next of migrationPath(this.flags, this.#state, state)) {
        stream = this.step(this.#state, next)
        if (this.#state === ERROR) throw refused(next, state, 'the step failed')
        this.#state = next
        this.entered(next)
      }
    } finally {
      this.#walking = false
      if (this.#resetAsked) this.reset()
    }
    return stream
  }

  /** Puts the device into ERROR, where a step failed half-way; only a reset leads out of it. */
  protected fail(): void {
    this.#state = ERROR
  }

  /** Goes back to RUNNING with no stream, as `VFIO_DEVICE_RESET` does; within a step it waits for the walk to end. */
  reset(): void {
    this.#resetAsked = this.#walking
    if (this.#walking) return
    this.#state = RUNNING
    this.endStreams()
  }
}

/** All ways of a device that knows every state, by `from * 8 + to`. */
const WAYS: ReadonlyMap<number, readonly number[]> = new Map(
  [...ARCS.keys()].flatMap((from) =>
    [...waysFrom(from)].map(([to, way]) => [from * VFIO_DEVICE_STATE_NR + to, way] as const),
  ),
)

/** Finds the shortest way to every state: breadth first, not going on behind an arc that opens a stream. */
function waysFrom(from: number): Map<number, readonly number[]> {
  const ways = new Map<number, readonly number[]>([[from, []]])
  const open: number[] = [from]
  for (let at = open.shift(); at !== undefined; at = open.shift()) {
    for (const { to, opens } of ARCS.get(at) ?? []) {
      if (ways.has(to) || (from === STOP_COPY && isPreCopy(to))) continue
      ways.set(to, [...(ways.get(at) ?? []), to])
      if (opens === undefined) open.push(to)
    }
  }
  return ways
}

function isPreCopy(state: number): boolean {
  return state === PRE_COPY || state === PRE_COPY_P2P
}

function refused(from: number, to: number, reason: string): VfioError {
  return new VfioError('EINVAL', 'VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE', {
    reason: `from ${migrationStateName(from)} to ${migrationStateName(to)}: ${reason}`,
  })
}
