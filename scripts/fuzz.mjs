/**
 * `npm run -s fuzz -- wire [--seconds N] [--seed N] [--runs N]`: hostile vfio-user clients and servers against ours.
 *
 * Runs for a minute unless told otherwise, with a seed that it prints; a failure says how to play it again.
 */
import { fail, run } from './command.mjs'

/** What can be fuzzed, by the example of which crate. */
const TARGETS = { wire: 'vfio-wire' }

const [target = 'wire', ...args] = process.argv.slice(2)
if (!Object.hasOwn(TARGETS, target)) fail(`unknown target ${target}; there are ${Object.keys(TARGETS).join(', ')}`)
// Unoptimised, so that arithmetic that overflows is noticed.
const cargo = ['run', '--quiet', '-p', TARGETS[target], '--example', 'fuzz', '--', ...args]
process.exitCode = run('cargo', cargo, { stdio: 'inherit' })
