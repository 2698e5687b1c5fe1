/**
 * `npm run check:packages`: has publint look at every tarball in `build/packages`, and "are the types wrong" at the facade.
 *
 * One rule is left out: that CommonJS gets an ES module, which every Node that the package takes can require.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fail, node, root, say } from './command.mjs'
import { install } from './install.mjs'

const PACKAGES = join(root, 'build', 'packages')
const modules = join(root, 'node_modules')

install()
const tarballs = existsSync(PACKAGES) ? readdirSync(PACKAGES).filter((file) => file.endsWith('.tgz')) : []
const facade = tarballs.find((file) => /^vfio-\d/.test(file))
if (facade === undefined) fail('there are no packages in build/packages: run "npm run pack"')

const failed = tarballs.filter((file) => {
  say(`\n── publint ${file}`)
  return node(join(modules, 'publint', 'src', 'cli.js'), [join(PACKAGES, file), '--strict']) !== 0
})
say(`\n── attw ${facade}`)
const attw = join(modules, '@arethetypeswrong', 'cli', 'dist', 'index.js')
if (node(attw, [join(PACKAGES, facade), '--ignore-rules', 'cjs-resolves-to-esm', '--no-emoji']) !== 0)
  failed.push('attw')
if (failed.length > 0) fail(`${failed.join(', ')}: see above`)
