/**
 * Installs and builds what is missing or has changed: packages, native addon, JavaScript.
 *
 * node scripts/build.mjs
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { buildTs } from './build-ts.mjs'
import { node, root } from './command.mjs'
import { install } from './install.mjs'

/** Brings everything up to date. */
export function build() {
  install()
  const failed = node(join(root, 'scripts', 'build-native.mjs'))
  if (failed) process.exit(failed)
  buildTs()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) build()
