/**
 * `npm start -- [FILE]`: brings everything up to date and runs the main job, `examples/main/main.ts`.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { fail, node, root } from './command.mjs'

build()
const program = join(root, 'build', 'examples', 'main', 'main.js')
if (!existsSync(program)) fail('examples/main/main.ts is missing')
process.exitCode = node(program, process.argv.slice(2), { stdio: 'inherit' })
