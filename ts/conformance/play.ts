/** Playing one scenario: a fresh machine, a fresh process, every step in order, and the first answer that differs. */
import { difference, show, type Answer } from './compare.ts'
import { excuses, type Difference } from './differences.ts'
import { Session } from './session.ts'
import type { Scenario } from './scenario.ts'
import { STEPS } from './steps.ts'

/** How a scenario went. */
export interface Outcome {
  result: 'passed' | 'failed' | 'skipped'
  reason?: string
  /** Index of the first step that differed. */
  step?: number
  /** What it answered. */
  answer?: string
}

/** Plays a scenario; steps that `rows` excuse are executed and not compared. */
export async function play(scenario: Scenario, rows: readonly Difference[]): Promise<Outcome> {
  const unknown = scenario.steps.findIndex((step) => STEPS[step.op] === undefined)
  if (unknown >= 0)
    return { result: 'failed', step: unknown, reason: `unknown op ${String(scenario.steps[unknown]?.op)}` }
  let session: Session | undefined
  try {
    session = new Session(scenario)
    return await playSteps(session, scenario, rows)
  } catch (error) {
    return { result: 'failed', reason: `the machine could not be set up: ${describe(error)}` }
  } finally {
    session?.close()
  }
}

async function playSteps(session: Session, scenario: Scenario, rows: readonly Difference[]): Promise<Outcome> {
  for (const [index, step] of scenario.steps.entries()) {
    let answer: Answer
    try {
      answer = (await STEPS[step.op]?.(session, step)) ?? {}
      if (session.platform !== undefined) answer['locked_vm'] = session.lockedBytes()
    } catch (error) {
      return {
        result: 'failed',
        step: index,
        reason: `step ${index} ${label(step)} could not be played: ${describe(error)}`,
      }
    }
    if (excuses(rows, index) !== undefined) continue
    const differs = difference(step, answer)
    if (differs !== undefined) {
      return { result: 'failed', step: index, reason: `step ${index} ${label(step)}: ${differs}`, answer: show(answer) }
    }
  }
  return { result: 'passed' }
}

function label(step: { op: string; [key: string]: unknown }): string {
  const detail = step['req'] ?? step['path'] ?? step['buf'] ?? step['on']
  return typeof detail === 'string' ? `${step.op} ${detail}` : step.op
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
