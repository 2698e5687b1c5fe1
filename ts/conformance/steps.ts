/** The operations that steps may name. */
import { eventSteps } from './event-steps.ts'
import { fileSteps } from './file-steps.ts'
import { ioctlSteps } from './ioctl-steps.ts'
import { memorySteps } from './memory-steps.ts'
import type { StepPlayer } from './step-player.ts'
import { sysfsSteps } from './sysfs-steps.ts'

/** Every operation by name. */
export const STEPS: Readonly<Record<string, StepPlayer>> = {
  ...fileSteps,
  ...ioctlSteps,
  ...memorySteps,
  ...eventSteps,
  ...sysfsSteps,
}
