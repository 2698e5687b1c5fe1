/**
 * The scene of `npm run -s guest -- v86`: a Debian guest for i386 in v86, with our serial card and DMA device on its bus.
 *
 * Sets up what is missing (firmware, kernel and busybox of Debian's, in a cache, without root), boots the machine of
 * `examples/v86-machine` and runs the checks inside.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fail, root, run, say } from './command.mjs'

const GUEST = join(root, 'test', 'guest')
const MACHINE = join(root, 'build', 'examples', 'v86-machine', 'main.js')
const MODULES = ['uio.ko', 'uio_pci_generic.ko']
const FREESTANDING = '-m32 -static -nostdlib -ffreestanding -fno-pic -fno-stack-protector -fcf-protection=none -O1'
/** Seconds; the whole scene takes about thirty on an idle machine. */
const PATIENCE = '600'

/** Boots the guest and gives each PASS and FAIL line to `count`. */
export async function playV86(count, { timeout = PATIENCE, bytes }) {
  say('\n── v86: a serial card and a DMA device')
  const cache = spawnSync('bash', [join(GUEST, 'make-v86-guest.sh')], { stdio: ['ignore', 'pipe', 'inherit'] })
  if (cache.status !== 0) fail('the guest could not be set up, see above')
  const folder = cache.stdout.toString().trim()
  const made = mkdtempSync(join(tmpdir(), 'vfio-v86-'))
  try {
    const peek = join(made, 'peek')
    const source = join(GUEST, 'v86', 'peek.c')
    if (run('cc', [...FREESTANDING.split(' '), source, '-o', peek]) !== 0) fail('peek.c does not compile, see above')
    const files = [peek, ...MODULES.map((module) => join(folder, module))].flatMap((file) => ['--file', file])
    const environment = bytes === undefined ? [] : ['--env', `BYTES=${bytes}`]
    await boot(count, [
      folder,
      ...['--script', join(GUEST, 'v86', 'check.sh'), '--timeout', timeout],
      ...[...environment, ...files],
    ])
  } finally {
    rmSync(made, { recursive: true, force: true })
  }
}

async function boot(count, args) {
  const machine = spawn(process.execPath, [MACHINE, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(machine, 'exit')
  let failures = 0
  for await (const line of createInterface({ input: machine.stdout })) {
    const result = /^(PASS|FAIL) (.*)/.exec(line)
    if (result === null) {
      say(`   ${line}`)
    } else {
      if (result[1] === 'FAIL') failures++
      count(result[1] === 'PASS', `v86: ${result[2]}`)
    }
  }
  const [code, signal] = await ended
  count(
    code === failures,
    `v86: the guest ended by itself, and the machine after it (${signal ?? `exit code ${code}`})`,
  )
}
