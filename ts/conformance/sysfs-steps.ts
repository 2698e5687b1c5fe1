/** Steps on the sysfs and device trees. */
import type { StepPlayer } from './step-player.ts'
import { call } from './system-call.ts'
import type { Step } from './scenario.ts'
import type { Session } from './session.ts'

function pathOf(session: Session, step: Step): string {
  return session.machine.expand(String(step['path']))
}

/** Operations on paths. */
export const sysfsSteps: Record<string, StepPlayer> = {
  'sysfs-write': (session, step) =>
    call(() => ({
      ret: session.machine.host.sysfs.write(pathOf(session, step), session.machine.expand(String(step['data']))),
    })),
  'sysfs-read': (session, step) =>
    call(() => ({ ret: 0, text: session.machine.host.sysfs.read(pathOf(session, step)) })),
  'sysfs-list': (session, step) =>
    call(() => ({ ret: 0, names: [...session.machine.host.sysfs.list(pathOf(session, step))].sort() })),
  'sysfs-link': (session, step) =>
    call(() => ({ ret: 0, target: session.machine.host.sysfs.readlink(pathOf(session, step)) })),
  exists: (session, step) => ({ ret: 0, value: session.machine.exists(pathOf(session, step)) }),
  'stat-mode': (session, step) =>
    call(() => ({ ret: 0, mode: `0o${session.machine.mode(pathOf(session, step)).toString(8)}` })),
}
