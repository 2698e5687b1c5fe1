/** Descriptors of a simulated process: small numbers that stand for open files. */
import { VfioError, warnOfModel } from '../errors.ts'
import type { HeldFile, OpenFile } from '../files/open-file.ts'

/** First descriptor that a process gets. */
const FIRST = 3

/** An open file with the manner in which it was opened; duplicates and children of the process share it. */
export class OpenDescription {
  readonly file: OpenFile
  readonly read: boolean
  readonly write: boolean
  #references = 0

  constructor(file: OpenFile, access: { read: boolean; write: boolean }) {
    this.file = file
    this.read = access.read
    this.write = access.write
  }

  /** One more descriptor stands for it. */
  hold(): void {
    this.#references++
  }

  /** One less; the last one closes the file. */
  release(): void {
    if (--this.#references > 0) return
    try {
      this.file.release?.()
    } catch (error) {
      warnOfModel(error) // closing does not fail
    }
  }
}

/** The table of one process. */
export class Descriptors {
  readonly #limit: number
  readonly #open = new Map<number, OpenDescription>()
  #lowest = FIRST

  /** At most `limit` descriptors (RLIMIT_NOFILE); 0 to 2 count as taken. */
  constructor(limit: number) {
    this.#limit = limit
  }

  /** Numbers in use, ascending. */
  get numbers(): number[] {
    return [...this.#open.keys()].sort((a, b) => a - b)
  }

  /** What a descriptor stands for. */
  get(fd: number): OpenDescription | undefined {
    return this.#open.get(fd)
  }

  /** Holds the open file behind a descriptor, which stays open until the hold is released. */
  hold(fd: number): HeldFile | undefined {
    const description = this.#open.get(fd)
    if (description === undefined) return undefined
    description.hold()
    let held = true
    return {
      file: description.file,
      release: () => {
        if (held) description.release()
        held = false
      },
    }
  }

  /** Gives an open file the lowest number that is free. @throws {VfioError} EMFILE; the file is left as it is */
  install(description: OpenDescription): number {
    let fd = this.#lowest
    while (this.#open.has(fd)) fd++
    if (fd >= this.#limit) {
      throw new VfioError('EMFILE', 'open', {
        reason: `the process has ${this.#open.size} descriptors`,
        remedy: 'close some',
      })
    }
    this.#open.set(fd, description)
    this.#lowest = fd + 1
    description.hold()
    return fd
  }

  /** Closes a descriptor. @throws {VfioError} EBADF */
  close(fd: number): void {
    const description = this.#open.get(fd)
    if (!description) throw new VfioError('EBADF', 'close', { reason: `descriptor ${fd} is not open` })
    this.#open.delete(fd)
    this.#lowest = Math.min(this.#lowest, fd)
    description.release()
  }

  /** Closes them all, in ascending order. */
  closeAll(): void {
    for (const fd of this.numbers) if (this.#open.has(fd)) this.close(fd)
  }

  /** A copy for a child: the same numbers, the same open files. */
  fork(): Descriptors {
    const copy = new Descriptors(this.#limit)
    for (const [fd, description] of this.#open) {
      copy.#open.set(fd, description)
      description.hold()
    }
    return copy
  }
}
