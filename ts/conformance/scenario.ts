/**
 * The vector format: scenarios, steps and expectations, and the reading of a file of them.
 *
 * A vector is a recording of what a real kernel answered, call by call. A file holds a JSON array of scenarios; what
 * is not one, or names an operation that the player does not know, is a failure and never passed over.
 */
import { readFileSync } from 'node:fs'

/** A number as vectors write it: a JSON integer or a hex string, negative ones too. */
export type Numeric = number | string

/** User memory that a scenario starts with. */
export interface BufferSpec {
  kind: 'anon' | 'memfd' | 'unmapped' | 'huge'
  size: Numeric
  align?: Numeric
  fill?: Numeric
  prot?: 'r' | 'none'
  populate?: boolean
  thp?: boolean
  page?: Numeric
}

/** A mediated device that exists while a scenario runs. */
export interface MdevSpec {
  name: string
  parent: string
  type: string
  uuid: string
}

/** What surrounds a scenario. */
export interface Environment {
  mdevs?: MdevSpec[]
  unbound?: string[]
  caps_drop?: string[]
  rlimit_memlock?: Numeric
  dma_entry_limit?: Numeric
  noiommu?: boolean
  platform?: string
  page_size?: Numeric
}

/** What a step has to answer. */
export interface Expectation {
  ret?: number | string
  errno?: string
  out?: Record<string, unknown>
  [key: string]: unknown
}

/** One call. */
export interface Step {
  op: string
  expect: Expectation
  on?: string
  as?: string
  nondeterministic?: boolean
  unspecified?: boolean
  ignore_out?: string[]
  [key: string]: unknown
}

/** A sequence of calls in a fresh process on a fresh machine. */
export interface Scenario {
  name: string
  about: string
  env: Environment
  bufs: Record<string, BufferSpec>
  steps: Step[]
}

/** Name of the one file in a vector folder that is no vector file: the layouts of the recording machine. */
export const LAYOUT_FILE = 'uapi.json'

/**
 * Reads a vector file.
 * @throws {Error} unreadable file, bad JSON, or something that is no list of scenarios
 */
export function readScenarios(path: string): Scenario[] {
  const parsed: unknown = JSON.parse(readFileSync(path, 'utf8'))
  if (!Array.isArray(parsed)) throw new Error('not a list of scenarios')
  return parsed.map((item, i) => checkScenario(item, i))
}

function checkScenario(item: unknown, index: number): Scenario {
  if (!isRecord(item)) throw new Error(`scenario ${index} is not an object`)
  const { name, about, env, bufs, steps } = item
  if (typeof name !== 'string' || name === '') throw new Error(`scenario ${index} has no name`)
  if (env !== undefined && !isRecord(env)) throw new Error(`${name}: env is not an object`)
  if (bufs !== undefined && !isRecord(bufs)) throw new Error(`${name}: bufs is not an object`)
  if (!Array.isArray(steps) || steps.length === 0) throw new Error(`${name}: no steps`)
  for (const [i, step] of steps.entries()) {
    if (!isRecord(step) || typeof step['op'] !== 'string') throw new Error(`${name}: step ${i} has no op`)
    if (!isRecord(step['expect'])) throw new Error(`${name}: step ${i} has no expectation`)
  }
  return {
    name,
    about: typeof about === 'string' ? about : '',
    env: (env ?? {}) as Environment,
    bufs: (bufs ?? {}) as Record<string, BufferSpec>,
    steps: steps as Step[],
  }
}

/** Tells whether a value is a plain JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
