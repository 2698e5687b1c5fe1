/**
 * Programs in Markdown: the code blocks of a document, put together to modules that can be checked and run.
 *
 * A `ts` block continues the module of the block before; the first module of `x.md` is `x.ts`. Comments on the line before a
 * block say otherwise:
 *
 *     <!-- file: NAME.ts -->       begins or continues that module
 *     <!-- check: NAME.ts -->      likewise, and it is not run
 *     <!-- output: NAME.ts -->     before a `text` block: what the module prints; a line `…` stands for any lines
 *     <!-- setup: NAME.ts          code that readers need not see, up to
 *     -->                          a line with the end of the comment
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

/** A module made of code blocks. */
export interface DocumentedModule {
  /** File name. */
  readonly name: string
  code: string
  run: boolean
  /** What it prints, where the document tells. */
  output?: string
}

const MARK = /^<!-- (file|check|output): (\S+) -->$/
const SETUP = /^<!-- setup: (\S+)$/
const FENCE = /^```(\w*)$/

/** Reads the modules of a document. @throws {Error} a mark without its block, or a block without its end */
export function modulesOf(path: string): DocumentedModule[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  const modules = new Map<string, DocumentedModule>()
  const moduleOf = (name: string): DocumentedModule => {
    const known = modules.get(name) ?? { name, code: '', run: true }
    modules.set(name, known)
    return known
  }
  let current = `${basename(path, '.md').toLowerCase()}.ts`
  let mark: { kind: string; name: string } | undefined
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? ''
    const [, kind, name] = MARK.exec(line) ?? []
    const setup = SETUP.exec(line)?.[1]
    const fence = FENCE.exec(line)?.[1]
    if (kind !== undefined && name !== undefined) {
      mark = { kind, name }
      continue
    }
    if (setup !== undefined || fence !== undefined) {
      const end = lines.indexOf(setup === undefined ? '```' : '-->', i + 1)
      if (end < 0) throw new Error(`${path}:${i + 1}: nothing ends this block`)
      const body = `${lines.slice(i + 1, end).join('\n')}\n`
      i = end
      if (setup !== undefined) {
        moduleOf(setup).code += body
        continue
      }
      if (mark?.kind === 'output') moduleOf(mark.name).output = body
      else if (fence === 'ts') {
        current = mark?.name ?? current
        const module = moduleOf(current)
        module.code += body
        if (mark?.kind === 'check') module.run = false
      }
    } else if (mark !== undefined && line !== '') {
      throw new Error(`${path}:${i + 1}: no block follows the mark`)
    }
    if (line !== '') mark = undefined
  }
  return [...modules.values()]
}

/** Tells whether `output` is what the document shows. */
export function isOutput(output: string, shown: string): boolean {
  const escaped = shown
    .trim()
    .split('\n')
    .map((line) => (line.trim() === '…' ? '[\\s\\S]*' : line.split('…').map(escape).join('.*')))
  return new RegExp(`^${escaped.join('\\n')}$`).test(output.trim())
}

function escape(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}
