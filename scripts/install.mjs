/**
 * Installs the development packages where `node_modules` is missing or differs from the lock file.
 *
 * node scripts/install.mjs
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fail, npm, root, say } from './command.mjs'

/** Installs what is missing. */
export function install() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19))
    fail(`Node ${process.versions.node} is too old; vfio needs 20.19 or newer`)
  if (installed(root)) return
  say('Installing development packages (npm ci) …')
  const began = Date.now()
  if (npm(['ci', '--no-audit', '--no-fund', '--loglevel', 'error']) !== 0) fail('npm ci failed, see above')
  say(`Installed in ${((Date.now() - began) / 1000).toFixed(1)} s`)
}

/** Tells whether every package that the lock file asks for is there, in its version. */
export function installed(folder) {
  const read = (file) => JSON.parse(readFileSync(join(folder, file), 'utf8')).packages
  if (!existsSync(join(folder, 'node_modules', '.package-lock.json'))) return false
  const there = read(join('node_modules', '.package-lock.json'))
  return Object.entries(read('package-lock.json')).every(
    ([path, { version, optional }]) =>
      path === '' || (there[path]?.version ?? (optional ? version : undefined)) === version,
  )
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) install()
