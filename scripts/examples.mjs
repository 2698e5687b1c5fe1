/**
 * `npm run examples`: runs every example but the main job (`npm start`) to its end.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { node, root, say } from './command.mjs'

build()
const names = readdirSync(join(root, 'examples'))
  .filter((file) => file.endsWith('.ts') && file !== 'main.ts')
  .map((file) => file.slice(0, -'.ts'.length))
const failed = names.filter((name) => {
  say(`\n── examples/${name}.ts`)
  return node(join(root, 'build', 'examples', `${name}.js`)) !== 0
})
say(`\n${names.length - failed.length} of ${names.length} examples ran to their end`)
if (failed.length > 0) process.exitCode = 1
