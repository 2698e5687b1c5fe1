/**
 * The table of deliberate differences: the only thing that lets the player pass a scenario over.
 *
 * `docs/differences.md` holds a table `pattern | step | reason`. A pattern is a glob over `area/name`, or `device=NAME`
 * for every scenario that names that device. A row whose step column is a number or a range excuses only those steps;
 * `all` excuses the scenario.
 */
import { existsSync, readFileSync } from 'node:fs'
import type { Scenario } from './scenario.ts'

/** One row of the table. */
export interface Difference {
  pattern: string
  step: string
  reason: string
}

/** Reads the rows of the table in `path`. @throws {Error} a row with an empty column */
export function readDifferences(path: string): Difference[] {
  if (!existsSync(path)) return []
  const rows: Difference[] = []
  let inTable = false
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const cells = line.trim().startsWith('|')
      ? line
          .trim()
          .replace(/^\||\|$/g, '')
          .split(/(?<!\\)\|/)
      : undefined
    if (cells === undefined) {
      inTable = false
      continue
    }
    const [pattern = '', step = '', reason = ''] = cells.map((cell) => cell.trim().replace(/^`|`$/g, ''))
    if (pattern === 'pattern' && step === 'step' && reason === 'reason') {
      inTable = true
    } else if (inTable && !/^[-: ]+$/.test(pattern)) {
      if (pattern === '' || step === '' || reason === '')
        throw new Error(`${path}: a row without pattern, step or reason: ${line}`)
      rows.push({ pattern, step, reason })
    }
  }
  return rows
}

/** The rows that speak of a scenario. */
export function differencesOf(scenario: Scenario, rows: readonly Difference[]): Difference[] {
  return rows.filter((row) => matches(scenario, row.pattern))
}

/** Tells whether the rows excuse step `index` of a scenario (`undefined`: all of it). */
export function excuses(rows: readonly Difference[], index?: number): Difference | undefined {
  return rows.find((row) => {
    if (row.step === 'all') return true
    if (index === undefined) return false
    const [from, to] = row.step.split('-').map(Number)
    return from !== undefined && index >= from && index <= (to ?? from)
  })
}

function matches(scenario: Scenario, pattern: string): boolean {
  const device = /^device=(.+)$/.exec(pattern)?.[1]
  if (device !== undefined) return devicesOf(scenario).has(device)
  return globToRegExp(pattern).test(scenario.name)
}

function globToRegExp(glob: string): RegExp {
  const body = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.')
  return new RegExp(`^${body}$`)
}

const NAMED = /\{(?:pci|group|cdev|uuid):([a-z0-9]+)\}/g

/** Devices that a scenario names: in its templates, its environment, its sysfs paths and its own name. */
function devicesOf(scenario: Scenario): Set<string> {
  const found = new Set<string>()
  for (const match of JSON.stringify(scenario.steps).matchAll(NAMED)) if (match[1] !== undefined) found.add(match[1])
  for (const match of JSON.stringify(scenario.steps).matchAll(/mdev_bus\/([a-z0-9]+)\//g))
    if (match[1] !== undefined) found.add(match[1])
  for (const mdev of scenario.env.mdevs ?? []) found.add(mdev.name)
  for (const name of scenario.env.unbound ?? []) found.add(name)
  const inName = /\/([a-z0-9]+)-/.exec(scenario.name)?.[1]
  if (inName !== undefined) found.add(inName)
  return found
}
