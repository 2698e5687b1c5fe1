/** What a subcommand is: one description, from which its parsing, its help, the completions and the manual page are made. */
import { parseArgs } from 'node:util'

/** Exit codes, by class of what happened. */
export const EXIT = {
  /** All went well. */
  done: 0,
  /** The machine, the system or a peer refused. */
  refused: 1,
  /** The call itself is wrong. */
  usage: 2,
  /** There is nothing to talk to: no host runs, or a folder or file is not there. */
  unreachable: 3,
  /** The question was answered with no: a group is not viable, a recording differs. */
  no: 4,
} as const

/** An option of a command. */
export interface CommandOption {
  readonly name: string
  readonly short?: string
  /** What its value is called in the help; absent: it takes none. */
  readonly value?: string
  readonly summary: string
  /** The only values that it takes. */
  readonly choices?: readonly string[]
}

/** A subcommand. */
export interface Command {
  readonly name: string
  /** One line. */
  readonly summary: string
  /** Operands as the usage line shows them, such as `TYPE-OR-UUID`; absent: none. */
  readonly operands?: string
  /** Most operands; default 0, or 1 where `operands` is given. */
  readonly most?: number
  readonly options: readonly CommandOption[]
  /** Paragraphs for the help and the manual page. */
  readonly description?: readonly string[]
  /** Runs it and gives the exit code. */
  run(call: Call): Promise<number>
}

/** Options that every command has. */
export const COMMON_OPTIONS: readonly CommandOption[] = [
  { name: 'json', summary: 'answers, and refuses, in JSON' },
  { name: 'help', short: 'h', summary: 'tells what the command does' },
]

/** Options of commands that look at a machine. */
export const MACHINE_OPTIONS: readonly CommandOption[] = [
  {
    name: 'host',
    value: 'SOCKET',
    summary: 'the host that listens there; default: VFIO_HOST, or the one of `vfio host`',
  },
  { name: 'root', value: 'DIR', summary: 'the machine whose sys is in DIR: a mounted one, or / for this computer' },
]

/** A call that is wrong; printed with the usage. */
export class UsageError extends Error {}

/** The arguments of a call. */
export class Call {
  readonly #values: Readonly<Record<string, string | boolean | undefined>>
  readonly operands: readonly string[]

  constructor(values: Readonly<Record<string, string | boolean | undefined>>, operands: readonly string[]) {
    this.#values = values
    this.operands = operands
  }

  /** Whether an option without a value was given. */
  flag(name: string): boolean {
    return this.#values[name] === true
  }

  /** An option's value, if it was given. */
  text(name: string): string | undefined {
    const value = this.#values[name]
    return typeof value === 'string' ? value : undefined
  }

  /** An option's value. @throws {UsageError} it is missing */
  need(name: string): string {
    const value = this.text(name)
    if (value === undefined) throw new UsageError(`--${name} is missing`)
    return value
  }

  /** An option's value as a whole number from 0 on, if it was given. @throws {UsageError} it is none */
  count(name: string): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    if (!/^[0-9]{1,15}$/.test(value)) throw new UsageError(`--${name} takes a whole number, not '${value}'`)
    return Number(value)
  }

  /** Whether answers are to be JSON. */
  get json(): boolean {
    return this.flag('json')
  }
}

/** All options of a command. */
export function optionsOf(command: Command): readonly CommandOption[] {
  return [...command.options, ...COMMON_OPTIONS]
}

/** Reads the arguments of a command. @throws {UsageError} */
export function parseCall(command: Command, args: readonly string[]): Call {
  const known = optionsOf(command)
  const options = Object.fromEntries(
    known.map(({ name, short, value }) => [
      name,
      {
        type: value === undefined ? ('boolean' as const) : ('string' as const),
        ...(short === undefined ? {} : { short }),
      },
    ]),
  )
  let parsed: { values: Record<string, unknown>; positionals: string[] }
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  const { values, positionals } = parsed
  for (const { name, choices } of known) {
    const value = values[name]
    if (choices !== undefined && value !== undefined && !choices.includes(value as string))
      throw new UsageError(`--${name} takes ${choices.join(', ')}, not '${String(value)}'`)
  }
  const most = command.most ?? (command.operands === undefined ? 0 : 1)
  const extra = positionals[most]
  if (extra !== undefined) throw new UsageError(`'${extra}' is too much`)
  return new Call(values as Record<string, string | boolean | undefined>, positionals)
}

/** The usage line of a command. */
export function usageOf(command: Command): string {
  const operands = command.operands === undefined ? '' : ` ${command.operands}`
  return `vfio ${command.name}${operands} [OPTIONS]`
}
