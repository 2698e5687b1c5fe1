/**
 * `npm run docs`: builds the API documentation of the public names into `docs/api`, any warning an error.
 *
 * typedoc has packages of its own in `docs/`; they are installed at first use.
 */
import { join } from 'node:path'
import { fail, node, npm, root, say } from './command.mjs'
import { install, installed } from './install.mjs'

install()
const folder = join(root, 'docs')
if (!installed(folder)) {
  say('Installing typedoc (npm ci in docs/) …')
  if (npm(['ci', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel', 'error']) !== 0)
    fail('npm ci failed, see above')
}
const typedoc = join(folder, 'node_modules', 'typedoc', 'bin', 'typedoc')
process.exitCode = node(typedoc, ['--options', join(folder, 'typedoc.json')])
