/** How programs are run, and how they end. */
import type { VfioError } from '../errors.ts'

/** What a program is started with. */
export interface RunOptions {
  /** Arguments; the program's name is not among them. */
  args?: readonly string[]
  /** Environment; default this process's. `VFIO_SELFTESTS_BDF` is set to the first `ioat` of the machine where it is missing. */
  env?: Readonly<Record<string, string | undefined>>
  /** Working directory; default this process's. */
  cwd?: string
}

/** How a program ended: by itself, by a signal, or never having begun. */
export type ProgramEnd = { code: number } | { signal: number } | { failure: VfioError }
