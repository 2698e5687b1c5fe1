/** `vfio completion`: scripts by which shells complete the command line, made from the table of commands. */
import { type Command, EXIT, optionsOf, UsageError } from './command.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

/** Makes the command, which completes the others and itself. */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    summary: 'prints a completion script for bash, zsh or fish',
    operands: 'SHELL',
    description: [
      'bash: source <(vfio completion bash). zsh: vfio completion zsh > a folder of fpath, as _vfio. fish: vfio completion fish > ~/.config/fish/completions/vfio.fish.',
    ],
    options: [],
    async run(call) {
      const [shell] = call.operands
      if (shell === 'bash') console.log(bash(commands()))
      else if (shell === 'zsh') console.log(zsh(commands()))
      else if (shell === 'fish') console.log(fish(commands()))
      else throw new UsageError(`which shell? ${SHELLS.join(', ')}`)
      return EXIT.done
    },
  }
}

function bash(commands: readonly Command[]): string {
  const cases = commands.map((command) => `    ${command.name}) words='${flags(command).join(' ')}' ;;`)
  return `_vfio() {
  local cur=\${COMP_WORDS[COMP_CWORD]} words=''
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words='${commands.map(({ name }) => name).join(' ')}'; fi
  case $cur in
    -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    *) if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "$words" -- "$cur")); else COMPREPLY=($(compgen -f -- "$cur")); fi ;;
  esac
}
complete -o filenames -F _vfio vfio`
}

function zsh(commands: readonly Command[]): string {
  const names = commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`)
  const cases = commands.map((command) => {
    const options = optionsOf(command).map(({ name, value, summary }) => {
      const action = value === undefined ? '' : `:${value}:_files`
      return quoted(`--${name}[${summary.replaceAll(/[[\]:]/g, ' ')}]${action}`)
    })
    return `    ${command.name}) _arguments ${options.join(' ')} '*:file:_files' ;;`
  })
  return `#compdef vfio
_vfio() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case $words[2] in
${cases.join('\n')}
  esac
}
_vfio "$@"`
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => [
    `complete -c vfio -n __fish_use_subcommand -f -a ${command.name} -d ${quoted(command.summary)}`,
    ...optionsOf(command).map(({ name, short, value, summary }) => {
      const brief = short === undefined ? '' : ` -s ${short}`
      const takes = value === undefined ? '' : ' -r'
      return `complete -c vfio -n '__fish_seen_subcommand_from ${command.name}' -l ${name}${brief}${takes} -d ${quoted(summary)}`
    }),
  ])
  return lines.join('\n')
}

function flags(command: Command): string[] {
  return optionsOf(command).flatMap(({ name, short }) => [`--${name}`, ...(short === undefined ? [] : [`-${short}`])])
}

/** A word for a shell, in single quotes. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
