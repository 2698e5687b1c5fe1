/** Calls that may be refused: a refusal is an answer, anything else an error of the product. */
import type { FileHandle } from '../index.ts'
import type { Answer } from './compare.ts'
import type { Session } from './session.ts'
import type { Step } from './scenario.ts'

/** Runs a call; a refusal becomes `{ ret: -1, errno }`. */
export function call(run: () => Answer): Answer {
  try {
    return run()
  } catch (error) {
    return refused(error)
  }
}

/** Names a refusal. @throws what is none */
export function refused(error: unknown): Answer {
  const { code, syscall } = error as { code?: unknown; syscall?: unknown }
  if (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) && typeof syscall === 'string')
    return { ret: -1, errno: code }
  throw error
}

/** Runs a call on a handle; a handle that does not exist is descriptor -1. */
export function callOn(session: Session, step: Step, run: (file: FileHandle) => Answer): Answer {
  const file = session.handles.get(String(step.on))
  if (file === undefined) return { ret: -1, errno: 'EBADF' }
  return call(() => run(file))
}

/** Binds a new handle under the step's name. */
export function bind(session: Session, step: Step, file: FileHandle): Answer {
  if (step.as !== undefined) session.handles.set(step.as, file)
  return { ret: 'fd' }
}
