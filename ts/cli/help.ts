/** What people read before they call: the list of commands, a command's own page, the manual page. */
import { type Command, type CommandOption, EXIT, optionsOf, usageOf, UsageError } from './command.ts'
import { VERSION } from './version.ts'

const WIDTH = 100

/** Makes the command `help`, which knows all. */
export function helpCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'help',
    summary: 'tells what there is, or what a command does',
    operands: '[COMMAND]',
    options: [{ name: 'man', summary: 'prints the manual page, for man(1)' }],
    async run(call) {
      const [name] = call.operands
      if (call.flag('man')) console.log(manualPage(commands()))
      else if (name === undefined) console.log(overview(commands()))
      else {
        const command = commands().find((known) => known.name === name)
        if (command === undefined) throw new UsageError(`there is no command ${name}`)
        console.log(pageOf(command))
      }
      return EXIT.done
    },
  }
}

/** The list of commands. */
export function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)
  return `usage: vfio COMMAND [OPTIONS]\n\n${lines.join('\n')}\n\nvfio COMMAND --help tells more; vfio --version tells the version.`
}

/** A command's own page. */
export function pageOf(command: Command): string {
  const options = optionsOf(command).map((option) => [written(option), summaryOf(option)] as const)
  const width = Math.max(...options.map(([name]) => name.length))
  const paragraphs = [command.summary, ...(command.description ?? [])].map((text) => folded(text, 0))
  const lines = options.map(([name, summary]) => `  ${name.padEnd(width)}  ${folded(summary, width + 4)}`)
  return [`usage: ${usageOf(command)}`, ...paragraphs, lines.join('\n')].join('\n\n')
}

/** The manual page, in the language of man(7). */
export function manualPage(commands: readonly Command[]): string {
  const pages = commands.map((command) =>
    [
      `.SS "${usageOf(command)}"`,
      roff(`${capital(command.summary)}.`),
      ...(command.description ?? []).flatMap((text) => ['.PP', roff(text)]),
      ...optionsOf(command).flatMap((option) => ['.TP', `.B ${roff(written(option))}`, roff(summaryOf(option))]),
    ].join('\n'),
  )
  return `.TH VFIO 1 "" "vfio ${VERSION}" "User Commands"
.SH NAME
vfio \\- Linux VFIO in user space: machines, groups, mediated devices, devices for QEMU
.SH SYNOPSIS
.B vfio
.I COMMAND
[OPTIONS]
.SH COMMANDS
${pages.join('\n')}
.SH EXIT STATUS
.TP
.B ${EXIT.done}
all went well
.TP
.B ${EXIT.refused}
the machine, the system or a peer refused
.TP
.B ${EXIT.usage}
the call itself is wrong
.TP
.B ${EXIT.unreachable}
there is nothing to talk to: no host runs, or a file is not there
.TP
.B ${EXIT.no}
the answer is no: the group is not viable, a recording differs
.SH ENVIRONMENT
.TP
.B VFIO_HOST
socket of the host that commands talk to
.TP
.B NO_COLOR
no colours, even on a terminal
.TP
.B XDG_RUNTIME_DIR, XDG_CONFIG_HOME
where the socket and the definitions of mediated devices are kept
.SH SEE ALSO
.BR mdevctl (8)`
}

function written({ name, short, value }: CommandOption): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`
}

function summaryOf({ summary, choices }: CommandOption): string {
  return choices === undefined ? summary : `${summary}: ${choices.join(', ')}`
}

/** Text in lines of {@link WIDTH}, those after the first indented. */
function folded(text: string, indent: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`)
}

function roff(text: string): string {
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/, '\\&$1')
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
