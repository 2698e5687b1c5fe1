/** What plays one operation of a recording. */
import type { Answer } from './compare.ts'
import type { Step } from './scenario.ts'
import type { Session } from './session.ts'

/** Plays one step and gives its answer; throws only where the step cannot be played. */
export type StepPlayer = (session: Session, step: Step) => Answer | Promise<Answer>
