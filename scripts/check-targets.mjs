/**
 * `npm run check:targets`: has the compiler check the addon for every target that `npm run pack` does not build here,
 * warnings as errors. What other systems lack (sockets that pass descriptors, eventfds, memfds) is left out by `cfg`; this
 * sees that the rest compiles.
 */
import { fail, run, say } from './command.mjs'
import { hostTarget, rustFlags, TARGETS } from './targets.mjs'
import { addRustTarget } from './zig.mjs'

const built = process.platform === 'linux' ? ['linux-x64-gnu', 'linux-arm64-gnu'] : [hostTarget()]
const others = Object.entries(TARGETS).filter(([target]) => !built.includes(target))
const failed = others.filter(([target, { rust }]) => {
  say(`\n── ${target}: cargo check --target ${rust}`)
  addRustTarget(rust)
  const env = { RUSTFLAGS: `-D warnings ${rustFlags(target)}`.trim() }
  return run('cargo', ['check', '--quiet', '--package', 'vfio-napi', '--target', rust], { env }) !== 0
})
if (failed.length > 0) fail(`does not compile for ${failed.map(([target]) => target).join(', ')}`)
say(`\nIt compiles for ${others.map(([target]) => target).join(', ')}`)
