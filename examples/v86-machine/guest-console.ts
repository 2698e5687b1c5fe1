/** The console of the guest: its first serial port. */
import type { V86 } from 'v86'
import { ENDED } from './guest-files.ts'

const TIMED_OUT = 124
/** Ctrl-], which ends a machine at a terminal. */
const LEAVE = 0x1d

/** The guest's first serial port, line by line. */
export class GuestConsole {
  readonly #emulator: V86
  readonly #interactive: boolean
  #line = ''
  #end: (code: number) => void = () => {}

  /** Takes the port: to the terminal byte by byte where `interactive`, else its lines to standard output. */
  constructor(emulator: V86, interactive: boolean) {
    this.#emulator = emulator
    this.#interactive = interactive
    emulator.add_listener('serial0-output-byte', (byte: number) => this.#take(String.fromCharCode(byte)))
  }

  /** Resolves with the script's exit code, or with 124 after `timeout` milliseconds. */
  async ended(timeout?: number): Promise<number> {
    const { stdin } = process
    const send = (bytes: Buffer): void => {
      if (bytes.includes(LEAVE)) this.#end(0)
      else this.#emulator.serial0_send(bytes.toString('latin1'))
    }
    if (this.#interactive) {
      stdin.setRawMode?.(true)
      stdin.on('data', send)
    }
    const { promise, resolve } = withResolvers<number>()
    this.#end = resolve
    const timer = timeout === undefined ? undefined : setTimeout(() => resolve(TIMED_OUT), timeout)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      stdin.off('data', send).pause()
    }
  }

  #take(character: string): void {
    if (this.#interactive) process.stdout.write(character)
    if (character !== '\n') {
      this.#line += character
      return
    }
    const line = this.#line.replace(/\r$/, '')
    this.#line = ''
    const [, code] = ENDED.exec(line) ?? []
    if (code !== undefined) this.#end(Number(code))
    else if (!this.#interactive) console.log(line)
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((take) => (resolve = take))
  return { promise, resolve }
}
