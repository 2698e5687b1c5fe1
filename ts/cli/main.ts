#!/usr/bin/env node
/** The command line tool: finds the subcommand, runs it, and turns what it throws into an exit code. */
import { EXIT, parseCall, usageOf, UsageError } from './command.ts'
import { COMMANDS } from './commands.ts'
import { NoHostError } from './daemon/client.ts'
import { overview, pageOf } from './help.ts'
import { refusal } from './output.ts'
import { VERSION } from './version.ts'

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    console.log(overview(COMMANDS))
    return name === undefined ? EXIT.usage : EXIT.done
  }
  if (name === '--version' || name === '-V') {
    console.log(VERSION)
    return EXIT.done
  }
  const json = args.includes('--json')
  const command = COMMANDS.find((known) => known.name === name)
  if (command === undefined) {
    refusal(
      json,
      new UsageError(`there is no command ${name}; there are ${COMMANDS.map((known) => known.name).join(', ')}`),
    )
    return EXIT.usage
  }
  try {
    const call = parseCall(command, args)
    if (call.flag('help')) {
      console.log(pageOf(command))
      return EXIT.done
    }
    return await command.run(call)
  } catch (error) {
    refusal(json, error)
    if (!(error instanceof UsageError)) return classOf(error)
    if (!json) console.error(`usage: ${usageOf(command)}; vfio ${name} --help tells more`)
    return EXIT.usage
  }
}

/** The exit code of a refusal; what nobody foresaw is shown whole. */
function classOf(error: unknown): number {
  const { code, syscall, path, stack } = error as NodeJS.ErrnoException
  if (error instanceof NoHostError) return EXIT.unreachable
  if (code === undefined) console.error(stack ?? error)
  // A file or folder that the call names, as opposed to something of the machine.
  const ownFile = code === 'ENOENT' && path !== undefined && (syscall === 'open' || syscall === 'scandir')
  return ownFile ? EXIT.unreachable : EXIT.refused
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader such as head(1) has seen enough.
  if (error.code === 'EPIPE') process.exitCode = EXIT.done
  else throw error
})

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    refusal(process.argv.includes('--json'), error)
    process.exitCode = EXIT.refused
  },
)
