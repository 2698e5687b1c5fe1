/** The table of subcommands: one row each. */
import { bench } from './bench.ts'
import { type Command } from './command.ts'
import { completionCommand } from './completion.ts'
import { conformance } from './conformance.ts'
import { explain } from './explain.ts'
import { helpCommand } from './help.ts'
import { host } from './host.ts'
import { define } from './mdev/define.ts'
import { list } from './mdev/list.ts'
import { modify } from './mdev/modify.ts'
import { start } from './mdev/start.ts'
import { stop } from './mdev/stop.ts'
import { types } from './mdev/types.ts'
import { undefine } from './mdev/undefine.ts'
import { run } from './run.ts'
import { serve } from './serve.ts'

/** All subcommands, in the order of the help. */
export const COMMANDS: readonly Command[] = [
  host,
  types,
  list,
  define,
  undefine,
  modify,
  start,
  stop,
  run,
  serve,
  explain,
  bench,
  conformance,
  completionCommand(() => COMMANDS),
  helpCommand(() => COMMANDS),
]
