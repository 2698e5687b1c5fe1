/**
 * `npm run -s conformance -- [FILE|DIR …] [--only AREA/NAME] [--explain]`: brings everything up to date and plays vectors.
 *
 * Standard output belongs to the player; its last line is `N passed, N failed, N skipped`.
 */
import { join } from 'node:path'
import { build } from './build.mjs'
import { node, root } from './command.mjs'

build()
const cli = join(root, 'dist', 'cli', 'main.js')
process.exitCode = node(cli, ['conformance', ...process.argv.slice(2)], { stdio: ['ignore', 'inherit', 'inherit'] })
