/** The ways between migration states. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MigrationMachine, hasMigrationState, migrationPath } from '../../ts/device/migration-state.ts'
import type { MigrationStream } from '../../ts/device/ops.ts'
import { VfioError } from '../../ts/errors.ts'
import { outcome } from '../outcome.ts'

const code = (name: string) => expect.objectContaining({ code: name })
const [ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P] = [0, 1, 2, 3, 4, 5, 6, 7]
const SAVING = new Set([STOP_COPY, PRE_COPY, PRE_COPY_P2P])
const ALL = 7
const FLAGS = [1, 3, 5, 7]

/** Tells whether data begins to move. */
function opens(from: number, to: number): boolean {
  return to === RESUMING || (SAVING.has(to) && !SAVING.has(from))
}

/** Notes the arcs that it walks. */
class Recorder extends MigrationMachine {
  readonly flags: number
  readonly arcs: [number, number][] = []
  ended = 0
  onStep: (to: number) => void = () => {}

  constructor(flags = ALL) {
    super()
    this.flags = flags
  }

  override dataSize(): bigint {
    return 0n
  }

  override endStreams(): void {
    this.ended++
  }

  protected override step(from: number, to: number): MigrationStream | undefined {
    this.onStep(to)
    this.arcs.push([from, to])
    return opens(from, to) ? {} : undefined
  }

  override fail(): void {
    super.fail()
  }
}

describe('the ways', () => {
  it('are those of the interface', () => {
    const ways: [number, number, number[]][] = [
      [PRE_COPY, STOP_COPY, [PRE_COPY_P2P, STOP_COPY]],
      [PRE_COPY, RUNNING_P2P, [RUNNING, RUNNING_P2P]],
      [PRE_COPY, STOP, [RUNNING, RUNNING_P2P, STOP]],
      [PRE_COPY, RESUMING, [RUNNING, RUNNING_P2P, STOP, RESUMING]],
      [PRE_COPY_P2P, RUNNING, [RUNNING_P2P, RUNNING]],
      [PRE_COPY_P2P, STOP, [RUNNING_P2P, STOP]],
      [PRE_COPY_P2P, RESUMING, [RUNNING_P2P, STOP, RESUMING]],
      [RESUMING, RUNNING_P2P, [STOP, RUNNING_P2P]],
      [RESUMING, PRE_COPY_P2P, [STOP, RUNNING_P2P, PRE_COPY_P2P]],
      [RESUMING, RUNNING, [STOP, RUNNING_P2P, RUNNING]],
      [RESUMING, PRE_COPY, [STOP, RUNNING_P2P, RUNNING, PRE_COPY]],
      [RESUMING, STOP_COPY, [STOP, STOP_COPY]],
      [RUNNING, PRE_COPY_P2P, [RUNNING_P2P, PRE_COPY_P2P]],
      [RUNNING, STOP, [RUNNING_P2P, STOP]],
      [RUNNING, RESUMING, [RUNNING_P2P, STOP, RESUMING]],
      [RUNNING, STOP_COPY, [RUNNING_P2P, STOP, STOP_COPY]],
      [RUNNING_P2P, PRE_COPY, [RUNNING, PRE_COPY]],
      [RUNNING_P2P, RESUMING, [STOP, RESUMING]],
      [RUNNING_P2P, STOP_COPY, [STOP, STOP_COPY]],
      [STOP, PRE_COPY_P2P, [RUNNING_P2P, PRE_COPY_P2P]],
      [STOP, RUNNING, [RUNNING_P2P, RUNNING]],
      [STOP, PRE_COPY, [RUNNING_P2P, RUNNING, PRE_COPY]],
      [STOP_COPY, RESUMING, [STOP, RESUMING]],
      [STOP_COPY, RUNNING_P2P, [STOP, RUNNING_P2P]],
      [STOP_COPY, RUNNING, [STOP, RUNNING_P2P, RUNNING]],
    ]
    for (const [from, to, way] of ways) expect(migrationPath(ALL, from, to), `${from} to ${to}`).toEqual(way)
  })

  it('are direct arcs where a device lacks the states between', () => {
    expect(migrationPath(1, RUNNING, STOP)).toEqual([STOP])
    expect(migrationPath(1, RUNNING, STOP_COPY)).toEqual([STOP, STOP_COPY])
    expect(migrationPath(1, STOP_COPY, RUNNING)).toEqual([STOP, RUNNING])
    expect(migrationPath(5, PRE_COPY, STOP_COPY)).toEqual([STOP_COPY])
    expect(migrationPath(5, RESUMING, PRE_COPY)).toEqual([STOP, RUNNING, PRE_COPY])
  })

  it('do not lead from STOP_COPY to PRE_COPY, nor to or from ERROR, nor anywhere unknown', () => {
    for (const to of [PRE_COPY, PRE_COPY_P2P]) expect(() => migrationPath(ALL, STOP_COPY, to)).toThrow(code('EINVAL'))
    for (let state = 0; state < 8; state++) {
      expect(() => migrationPath(ALL, state, ERROR)).toThrow(code('EINVAL'))
      expect(() => migrationPath(ALL, ERROR, state)).toThrow(code('EINVAL'))
    }
    for (const state of [8, 99, 0xffff_ffff, -1, NaN]) {
      expect(() => migrationPath(ALL, RUNNING, state)).toThrow(code('EINVAL'))
    }
    expect(() => migrationPath(1, RUNNING, PRE_COPY)).toThrow(code('EINVAL'))
    expect(() => migrationPath(5, RUNNING, RUNNING_P2P)).toThrow(code('EINVAL'))
  })

  it('from every reachable state end where they should, step by step, opening a stream at the end only', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FLAGS), fc.array(fc.nat({ max: 9 })), (flags, targets) => {
        const machine = new Recorder(flags)
        for (const target of targets) {
          const from = machine.getState()
          const way = outcome(() => (from === target ? [] : migrationPath(flags, from, target)))
          machine.arcs.length = 0
          const stream = outcome(() => machine.setState(target))
          const steps = typeof way === 'string' ? [] : way
          const opened = typeof way !== 'string' && target !== from && opens(from, target)
          expect(stream).toEqual(typeof way === 'string' ? 'EINVAL' : opened ? {} : undefined)
          expect(machine.getState()).toBe(steps.at(-1) ?? from)
          expect(machine.arcs).toEqual(steps.map((to, i) => [steps[i - 1] ?? from, to]))
          expect(machine.arcs.every(([, to]) => hasMigrationState(flags, to))).toBe(true)
          expect(machine.arcs.slice(0, -1).some(([at, to]) => opens(at, to))).toBe(false)
        }
      }),
    )
  })

  it('reach every state that the device has from every other, but one', () => {
    for (const flags of FLAGS) {
      const states = [STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P]
      const known = states.filter((state) => hasMigrationState(flags, state))
      for (const from of known) {
        for (const to of known) {
          if (from === STOP_COPY && (to === PRE_COPY || to === PRE_COPY_P2P)) continue
          const way = migrationPath(flags, from, to)
          expect(way.at(-1) ?? from).toBe(to)
          expect(migrationPath(flags, way[0] ?? from, to)).toEqual(way.slice(1))
        }
      }
    }
  })
})

describe('a machine', () => {
  it('stops where a step fails', () => {
    const machine = new Recorder()
    machine.onStep = (to) => {
      if (to === STOP) throw new VfioError('EIO', 'step')
    }
    expect(() => machine.setState(STOP_COPY)).toThrow(code('EIO'))
    expect(machine.getState()).toBe(RUNNING_P2P)
  })

  it('goes to ERROR where a step fails half-way, and out of it by reset alone', () => {
    const machine = new Recorder()
    machine.onStep = () => machine.fail()
    expect(() => machine.setState(STOP)).toThrow(code('EINVAL'))
    expect(machine.getState()).toBe(ERROR)
    for (let state = 1; state < 8; state++) expect(() => machine.setState(state)).toThrow(code('EINVAL'))
    machine.reset()
    expect(machine.getState()).toBe(RUNNING)
  })

  it('refuses to be moved from within a step, and resets after it', () => {
    const machine = new Recorder()
    machine.onStep = (to) => {
      expect(() => machine.setState(RUNNING)).toThrow(code('EBUSY'))
      if (to === STOP) machine.reset()
    }
    machine.setState(STOP_COPY)
    expect(machine.getState()).toBe(RUNNING)
    expect(machine.ended).toBe(1)
  })
})
