/** Options that the commands for mediated devices share, in mdevctl's vocabulary. */
import { readFile } from 'node:fs/promises'
import { type Call, type CommandOption, MACHINE_OPTIONS, UsageError } from '../command.ts'
import { isUuid } from '../daemon/served.ts'
import { type Definition, parseDefinition } from './definition.ts'

export const UUID: CommandOption = { name: 'uuid', short: 'u', value: 'UUID', summary: 'UUID of the device' }
export const PARENT: CommandOption = { name: 'parent', short: 'p', value: 'PARENT', summary: 'parent of the device' }
export const TYPE: CommandOption = {
  name: 'type',
  short: 't',
  value: 'TYPE',
  summary: 'type of the device, such as mtty-2',
}
export const JSON_FILE: CommandOption = {
  name: 'jsonfile',
  value: 'FILE',
  summary: 'takes type, start and attributes from FILE',
}
export const DUMP_JSON: CommandOption = { name: 'dumpjson', summary: "answers in mdevctl's JSON (as --json does)" }
/** Where definitions are. */
export const CONFIG: CommandOption = {
  name: 'config',
  value: 'DIR',
  summary: 'folder of definitions; default: ~/.config/vfio/mdevctl.d, with --root its etc/mdevctl.d',
}

/** Options by which a machine and its definitions are found. */
export const MDEV_MACHINE: readonly CommandOption[] = [...MACHINE_OPTIONS, CONFIG]

/** The UUID of a call, if it has one. @throws {UsageError} it is none */
export function uuidOf(call: Call): string | undefined {
  const uuid = call.text('uuid')
  if (uuid !== undefined && !isUuid(uuid)) throw new UsageError(`'${uuid}' is no UUID`)
  return uuid?.toLowerCase()
}

/** The UUID of a call. @throws {UsageError} it is missing, or none */
export function needUuid(call: Call): string {
  call.need('uuid')
  return uuidOf(call) as string
}

/** What stands in the file of `--jsonfile`, if that was given. @throws {UsageError} `conflicts` were given too */
export async function definitionFile(call: Call, conflicts: readonly string[]): Promise<Definition | undefined> {
  const file = call.text('jsonfile')
  if (file === undefined) return undefined
  const conflict = conflicts.find((name) => call.flag(name) || call.text(name) !== undefined)
  if (conflict !== undefined) throw new UsageError(`--${conflict} does not go with --jsonfile`)
  if (call.text('parent') === undefined && !call.flag('live'))
    throw new UsageError('--jsonfile needs --parent: the file does not say whose the device is')
  return parseDefinition(await readFile(file, 'utf8'), file)
}
