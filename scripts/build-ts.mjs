/**
 * Compiles `ts/` to `dist/`, then the programs (examples, benches) to `build/`.
 *
 * node scripts/build-ts.mjs
 *
 * Both are incremental: what has not changed is not written again.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fail, node, root, say } from './command.mjs'

const TSC = join(root, 'node_modules', 'typescript', 'bin', 'tsc')

/** Compiles what has changed. */
export function buildTs() {
  const began = Date.now()
  for (const [project, folder] of [
    ['tsconfig.json', 'dist'],
    ['tsconfig.programs.json', 'build'],
  ]) {
    if (node(TSC, ['-p', project]) === 0) continue
    // What an unfinished compilation wrote must not count as done.
    rmSync(join(root, folder, '.tsbuildinfo'), { force: true })
    fail(`${project} does not compile, see above`)
  }
  say(`dist/ and build/ are up to date (${((Date.now() - began) / 1000).toFixed(1)} s)`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) buildTs()
