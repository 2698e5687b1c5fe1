/** What a goal's measurement comes to: the shape of the figures, in whichever language they were taken. */

/** A comparison with a limit. */
export interface Check {
  what: string
  /** Null where the peer is not there. */
  ratio: number | null
  sign: '<=' | '>='
  goal: number
  met: boolean | null
}

/** What one contender needed. */
export interface Row {
  name: string
  /** Nanoseconds per operation, medians of the rounds: processor time of the thread, and wall time. */
  cpuNs: number
  wallNs: number
  /** Distance between the quartiles as a part of the median. */
  spread: number
  ratioToFirst: number | null
}

/** Contenders that did the same work in turns. */
export interface Contest {
  name: string
  rounds: number
  /** All gave the same answers. */
  agree: boolean
  rows: Row[]
}

/** One goal with all its figures. */
export interface Goal {
  id: string
  title: string
  checks: Check[]
  contests: Contest[]
  notes: string[]
}

/** How far a check is from its limit: above 1 it is missed. */
function strain({ ratio, sign, goal }: Check): number {
  if (ratio === null) return -1
  if (sign === '<=') return goal === 0 ? (ratio === 0 ? 0 : Infinity) : ratio / goal
  return ratio === 0 ? Infinity : goal / ratio
}

/** Whether everything that could be checked was met. */
export function isMet(goal: Goal): boolean {
  return goal.checks.every((check) => check.met !== false)
}

/** The lines that a goal ends with: its checks, and last the one that is nearest to its limit. */
export function report(goal: Goal): string[] {
  const line = ({ what, ratio, sign, goal: limit, met }: Check) =>
    `${what}  ratio ${ratio ?? 'unknown'} goal ${sign} ${limit} ${met === null ? 'left out' : met ? 'met' : 'missed'}`
  const [worst] = goal.checks.toSorted((a, b) => strain(b) - strain(a))
  const verdict = worst === undefined || worst.ratio === null ? 'left out' : isMet(goal) ? 'met' : 'missed'
  const last =
    worst === undefined
      ? `${goal.id} ratio unknown goal unknown ${verdict}`
      : `${goal.id} ratio ${worst.ratio ?? 'unknown'} goal ${worst.sign} ${worst.goal} ${verdict} (${worst.what})`
  return [...goal.checks.map((check) => `   ${line(check)}`), ...goal.notes.map((note) => `   ${note}`), last]
}

/** The value in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

/** A row of samples in nanoseconds per operation. */
export function rowOf(name: string, cpu: readonly number[], wall: readonly number[], first: number): Row {
  const sorted = cpu.toSorted((a, b) => a - b)
  const quartiles = (sorted[(sorted.length * 3) >> 2] ?? 0) - (sorted[sorted.length >> 2] ?? 0)
  const middle = median(cpu)
  return { name, cpuNs: middle, wallNs: median(wall), spread: quartiles / middle, ratioToFirst: middle / first }
}
