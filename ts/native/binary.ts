/** Finds the addon's `.node` file and loads it; where that fails, says what was tried, what was heard and what to do. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Binding } from './binding.ts'
import { elfFlaw } from './elf-header.ts'
import { GLIBC_FLOOR, packageOf, PREBUILT, target } from './target.ts'

/** What a failure comes from, the least telling first. */
const CAUSES = ['missing', 'loader', 'version', 'machine', 'truncated'] as const
type Cause = (typeof CAUSES)[number]

interface Failure {
  place: string
  cause: Cause
  words: string
}

/**
 * Loads the addon for this process: from `native/` of the package (a clone builds it there), else from the package of the
 * target. `from` is the URL of a module two folders below the package's own, `name` the target looked for.
 * @throws {Error} ERR_VFIO_ADDON with the target looked for, the files tried, what the loader said, and what to do
 */
export function loadBinary(from: string = import.meta.url, name: string = target()): Binding {
  const require = createRequire(from)
  const built = fileURLToPath(new URL(`../../native/vfio.${name}.node`, from))
  const failures: Failure[] = []
  for (const place of [built, packageOf(name)]) {
    const got = attempt(require, place)
    // The copy has its functions in fields, where the loader's object looks each call up by name.
    if ('binding' in got) return { ...got.binding }
    failures.push(got)
  }
  const telling = failures.reduce((left, right) =>
    CAUSES.indexOf(right.cause) > CAUSES.indexOf(left.cause) ? right : left,
  )
  const message = [
    `The native part of vfio does not load on ${name} (Node ${process.version}). Tried:`,
    ...failures.map(({ place, words }) => `  ${place}: ${words}`),
    ...remedies(require, from, name, telling.cause),
  ].join('\n')
  throw Object.assign(new Error(message), { code: 'ERR_VFIO_ADDON' })
}

function attempt(require: NodeJS.Require, place: string): { binding: Binding } | Failure {
  let path: string
  try {
    path = require.resolve(place)
  } catch (error) {
    const code = (error as { code?: string }).code
    const words = code === 'MODULE_NOT_FOUND' ? 'not there' : firstLine(error)
    return { place, cause: 'missing', words }
  }
  const shown = path === place ? place : `${place}: ${path}`
  const flaw = process.platform === 'linux' ? elfFlaw(path) : undefined
  if (flaw !== undefined) return { place: shown, cause: flaw.kind, words: flaw.words }
  try {
    const binding = require(path) as Binding
    const [has, wants] = [binding.addonVersion(), versionOf(require)]
    if (wants === undefined || has === wants) return { binding }
    return { place: shown, cause: 'version', words: `it is version ${has}, and this is vfio ${wants}` }
  } catch (error) {
    return { place: shown, cause: 'loader', words: firstLine(error) }
  }
}

/** What to do, by what went wrong. */
function remedies(require: NodeJS.Require, from: string, name: string, cause: Cause): string[] {
  const version = versionOf(require)
  const wanted = `${packageOf(name)}${version === undefined ? '' : `@${version}`}`
  if (existsSync(new URL('../../Cargo.toml', from))) {
    return ['In this clone, "npm run build:native" builds it (needs a Rust toolchain).']
  }
  if (!PREBUILT.includes(name)) {
    return [`There is no binary for ${name}, only for ${PREBUILT.join(', ')}; a clone builds one (needs Rust).`]
  }
  switch (cause) {
    case 'missing':
      return [
        `It comes with the optional dependency ${wanted}: "npm install --include=optional ${wanted}" adds it.`,
        'Where node_modules or package-lock.json came from another system, remove both and run "npm install" here.',
      ]
    case 'machine':
      return ['node_modules came from another system: remove it, and run "npm install" with the Node that runs this.']
    case 'truncated':
      return [`Install it anew: remove node_modules/${packageOf(name)}, then "npm install --force ${wanted}".`]
    case 'version':
      return [`Install the two in one version: "npm install vfio@${version} ${wanted}".`]
    case 'loader':
      return [
        name.endsWith('-gnu') ? `It needs glibc ${GLIBC_FLOOR} or newer.` : 'The loader says why it does not take it.',
        `If the file is damaged, remove node_modules/${packageOf(name)}, then "npm install --force ${wanted}".`,
      ]
  }
}

/** The version of the package, where its `package.json` is in its place. */
function versionOf(require: NodeJS.Require): string | undefined {
  try {
    const { name, version } = require('../../package.json') as { name?: unknown; version?: unknown }
    return name === 'vfio' && typeof version === 'string' ? version : undefined
  } catch {
    return undefined
  }
}

function firstLine(error: unknown): string {
  const [line = ''] = String((error as Error | null)?.message ?? error).split('\n', 1)
  return line
}
