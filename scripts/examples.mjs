/**
 * `npm run examples`: runs every example to its end, but the main job (`npm start`) and those that serve until they are
 * told to stop (`npm run guest`).
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { node, root, say } from './command.mjs'

const SERVERS = new Set(['serve-to-qemu.ts'])

build()
const names = readdirSync(join(root, 'examples'))
  .filter((file) => file.endsWith('.ts') && !SERVERS.has(file))
  .map((file) => file.slice(0, -'.ts'.length))
const failed = names.filter((name) => {
  say(`\n── examples/${name}.ts`)
  return node(join(root, 'build', 'examples', `${name}.js`)) !== 0
})
say(`\n${names.length - failed.length} of ${names.length} examples ran to their end`)
if (failed.length > 0) process.exitCode = 1
