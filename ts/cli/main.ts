#!/usr/bin/env node
/** The command line tool: finds the subcommand and runs it. */
import { VfioError } from '../index.ts'
import { help } from './help.ts'
import { serveCommand } from './serve.ts'

/** A subcommand: takes its arguments, gives the exit code. */
type Command = (args: readonly string[]) => Promise<number>

const COMMANDS: Readonly<Record<string, Command>> = { serve: serveCommand, help }

const USAGE_ERROR = 2

async function main([name = 'help', ...args]: readonly string[]): Promise<number> {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    console.error(name.startsWith('-') && name !== '--help' ? `unknown option ${name}` : `unknown command ${name}`)
    await help([])
    return name === '--help' || name === '-h' ? 0 : USAGE_ERROR
  }
  return command(args)
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    const known = error instanceof VfioError || (error as { code?: string }).code?.startsWith('ERR_')
    console.error(known ? (error as Error).message : error)
    process.exitCode = 1
  },
)
