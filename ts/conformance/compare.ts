/** Holding an answer against what the kernel answered. */
import { isRecord, type Expectation, type Step } from './scenario.ts'
import { big } from './number.ts'

/** Answer of a step, in the vocabulary of expectations. */
export type Answer = Record<string, unknown>

/** Compares an answer; returns what differs in one line, or undefined. */
export function difference(step: Step, answer: Answer): string | undefined {
  const expected: Expectation = step.expect
  const loose = step.nondeterministic === true || step.unspecified === true
  const keys = new Set(Object.keys(expected))
  if (!loose) for (const key of Object.keys(answer)) keys.add(key)
  for (const key of keys) {
    if (step.unspecified === true && key !== 'ret') continue
    const want = key === 'out' ? without(expected.out ?? {}, step.ignore_out) : expected[key]
    const got = key === 'out' ? without((answer['out'] as Answer | undefined) ?? {}, step.ignore_out) : answer[key]
    const different = loose && isRecord(want) && isRecord(got) ? subsetDiffers(want, got) : !same(want, got)
    if (different) return `${key}: expected ${show(want)}, got ${show(got)}`
  }
  return undefined
}

function without(fields: Answer, names: readonly string[] | undefined): Answer {
  if (names === undefined) return fields
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))
}

function subsetDiffers(want: Answer, got: Answer): boolean {
  return Object.entries(want).some(([key, value]) => !same(value, got[key]))
}

function same(want: unknown, got: unknown): boolean {
  if (want === got) return true
  if (isRecord(want) && isRecord(got)) {
    const keys = new Set([...Object.keys(want), ...Object.keys(got)])
    return [...keys].every((key) => same(want[key], got[key]))
  }
  if (Array.isArray(want) && Array.isArray(got)) {
    return want.length === got.length && want.every((item, i) => same(item, got[i]))
  }
  const a = numeric(want)
  return a !== undefined && a === numeric(got)
}

function numeric(value: unknown): bigint | undefined {
  if (typeof value === 'bigint') return value
  if (typeof value !== 'number' && !(typeof value === 'string' && /^-?0[xo]/i.test(value))) return undefined
  try {
    return big(value)
  } catch {
    return undefined
  }
}

/** Writes a value for a person. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  return (
    JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? `0x${item.toString(16)}` : item)) ??
    String(value)
  )
}
