/**
 * `npm run -s bench -- [P1 … P9] [--json FILE] [--quick] [--gate]`: measures the goals of docs/performance.md.
 *
 * Builds what is needed, the bench crate with its peers included. The exit code says whether it ran; with `--gate` it says
 * whether the goals were met.
 */
import { join } from 'node:path'
import { build } from './build.mjs'
import { fail, node, npm, root, run, say } from './command.mjs'
import { installed } from './install.mjs'

build()
const peers = join(root, 'bench', 'peers')
if (!installed(peers)) {
  say('Installing peers (npm ci in bench/peers/) …')
  if (npm(['ci', '--prefix', peers, '--no-audit', '--no-fund', '--loglevel', 'error']) !== 0) say('left out: koffi')
}
const target = join(root, 'target', 'bench')
const manifest = join(root, 'bench', 'rust', 'Cargo.toml')
if (
  run('cargo', ['build', '--quiet', '--release', '--locked', '--manifest-path', manifest, '--target-dir', target]) !== 0
)
  fail('the bench crate does not build')
const binary = join(target, 'release', process.platform === 'win32' ? 'vfio-bench.exe' : 'vfio-bench')
process.exitCode = node(join(root, 'build', 'bench', 'main.js'), process.argv.slice(2), {
  stdio: 'inherit',
  env: { VFIO_BENCH_BINARY: binary },
})
