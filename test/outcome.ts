import { isErrno } from '../ts/errors.ts'

/** What a call gave: its value, or the name of the errno that it was refused with. Anything else is thrown on. */
export function outcome<T>(run: () => T): T | string {
  try {
    return run()
  } catch (error) {
    if (!isErrno(error)) throw error
    return error.code
  }
}
