/** The operations that steps may name. */
import type { Answer } from './compare.ts'
import type { Session } from './session.ts'
import type { Step } from './scenario.ts'
import { eventSteps } from './event-steps.ts'
import { fileSteps } from './file-steps.ts'
import { ioctlSteps } from './ioctl-steps.ts'
import { memorySteps } from './memory-steps.ts'
import { sysfsSteps } from './sysfs-steps.ts'

/** Plays one step and gives its answer; throws only where the step cannot be played. */
export type StepPlayer = (session: Session, step: Step) => Answer | Promise<Answer>

/** Every operation by name. */
export const STEPS: Readonly<Record<string, StepPlayer>> = {
  ...fileSteps,
  ...ioctlSteps,
  ...memorySteps,
  ...eventSteps,
  ...sysfsSteps,
}
