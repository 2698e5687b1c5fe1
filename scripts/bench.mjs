/**
 * `npm run -s bench -- [P1 … P9] [--json FILE] [--quick] [--gate]`: measures the goals of docs/performance.md.
 *
 * Builds what is needed, the bench crate with its peers included. The exit code says whether it ran; with `--gate` it says
 * whether the goals were met.
 */
import { join } from 'node:path'
import { build } from './build.mjs'
import { fail, node, root, run } from './command.mjs'

build()
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
