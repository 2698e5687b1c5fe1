/**
 * `npm run docs`: builds the API documentation of the public names into `docs/api`, and that of the crates into
 * `target/doc`, any warning an error.
 *
 * typedoc has packages of its own in `docs/`; they are installed at first use.
 */
import { join } from 'node:path'
import { fail, node, npm, root, run, say } from './command.mjs'
import { install, installed } from './install.mjs'

install()
const folder = join(root, 'docs')
if (!installed(folder)) {
  say('Installing typedoc (npm ci in docs/) …')
  const status = npm(['ci', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel', 'error'])
  if (status !== 0) fail('npm ci failed, see above')
}
const typedoc = node(join(folder, 'node_modules', 'typedoc', 'bin', 'typedoc'), [
  '--options',
  join(folder, 'typedoc.json'),
])
const rustdoc = run('cargo', ['doc', '--quiet', '--workspace', '--no-deps'], { env: { RUSTDOCFLAGS: '-D warnings' } })
process.exitCode = typedoc || rustdoc
