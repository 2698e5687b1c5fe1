/** P7: region accesses and doorbells over vfio-user, both sides in processes of the bench crate. */
import type { Goal } from './goal.ts'
import { rustGoal } from './rust.ts'

/** Measures P7. */
export async function measure(quick: boolean): Promise<Goal> {
  if (process.platform === 'linux') return rustGoal('P7', quick)
  const notes = ['left out: there is no vfio-user here']
  return { id: 'P7', title: 'a region access over vfio-user', checks: [], contests: [], notes }
}
