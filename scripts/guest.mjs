/**
 * `npm run -s guest -- mtty|nvme|doorbell|files|v86|all [--timeout SECONDS] [--bytes N] [--keep-output]`: a device of ours in a real guest.
 *
 * `v86` is a machine in this very process, see `guest-v86.mjs`. For the others it
 * sets up what is missing (QEMU and a Debian kernel, unpacked into a cache without root), serves the device by the
 * command line tool, boots QEMU against its socket and runs the checks inside. Ends with `N passed, N failed`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { build } from './build.mjs'
import { fail, root, run, say } from './command.mjs'
import { lacksFuse, managedDevice } from './guest-files.mjs'
import { playV86 } from './guest-v86.mjs'

const GUEST = join(root, 'test', 'guest')
const CLI = join(root, 'dist', 'cli', 'main.js')

/** Scenes: what is served, by `vfio serve` or by a program, and how the guest is booted. Each boot is another client of the same server. */
const SCENES = {
  doorbell: {
    type: 'examples/serve-to-qemu',
    program: join(root, 'build', 'examples', 'serve-to-qemu.js'),
    script: 'doorbell-check.sh',
    boots: [{ name: 'a model in TypeScript', options: ['--append', 'memmap=64K$0x8000000'] }],
  },
  mtty: {
    type: 'mtty-2',
    script: 'mtty-check.sh',
    boots: [{ name: 'two serial ports', options: ['--timeout', '180'] }],
  },
  files: {
    type: 'mdevctl',
    prepare: managedDevice,
    lack: lacksFuse,
    script: 'mtty-check.sh',
    boots: [{ name: 'the card that mdevctl started', options: ['--timeout', '180'] }],
  },
  nvme: {
    type: 'nvme',
    script: 'nvme-check.sh',
    boots: [
      { name: 'one vCPU', options: [] },
      { name: 'two vCPUs', options: ['--smp', '2'] },
      { name: 'memory by message only', options: ['--no-share'] },
      {
        name: 'behind intel-iommu',
        options: ['--append', 'intel_iommu=on'],
        extra: ['-device', 'intel-iommu,caching-mode=on'],
      },
    ],
  },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { timeout: { type: 'string' }, bytes: { type: 'string' }, 'keep-output': { type: 'boolean' } },
})
const all = [...Object.keys(SCENES), 'v86']
const names = positionals.length === 0 || positionals.includes('all') ? all : positionals
for (const name of names) if (!all.includes(name)) fail(`unknown scene ${name}; there are ${all.join(', ')}`)

build()
const needsQemu = names.some((name) => name in SCENES)
if (needsQemu && run('bash', [join(GUEST, 'make-guest.sh')]) !== 0) fail('the guest could not be set up, see above')

let passed = 0
let failed = 0
for (const name of names) await (name === 'v86' ? playV86(count, values) : play(SCENES[name]))
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1

/** Serves a device and boots the guests of a scene, one after the other. */
async function play(scene) {
  const lack = scene.lack?.()
  if (lack !== undefined) {
    say(`\n── ${scene.type}: skipped, ${lack}`)
    if (process.env['VFIO_REQUIRE_FACILITIES'] === '1') count(false, lack)
    return
  }
  const folder = mkdtempSync(join(tmpdir(), 'vfio-guest-'))
  const socket = join(folder, 'device.sock')
  const prepared = await scene.prepare?.(CLI, folder, count)
  if (scene.prepare !== undefined && prepared === undefined) return rmSync(folder, { recursive: true, force: true })
  const args = prepared?.args ?? ['serve', scene.type]
  const command = scene.program === undefined ? [CLI, ...args, '--socket', socket] : [scene.program, socket]
  const server = spawn(process.execPath, command, {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const ended = once(server, 'exit')
  try {
    for (let tries = 0; !existsSync(socket); tries++) {
      if (server.exitCode !== null || tries > 200) return count(false, `the server of ${scene.type} did not start`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    for (const boot of scene.boots) await bootGuest(scene, boot, socket)
  } finally {
    server.kill('SIGTERM')
    const [code, signal] = await ended
    count(code === 0, `the server of ${scene.type} ended by itself when asked to (${signal ?? `exit code ${code}`})`)
    count(!existsSync(socket), 'its socket file is gone')
    await prepared?.finish()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Boots one guest and counts its PASS and FAIL lines. */
async function bootGuest(scene, boot, socket) {
  say(`\n── ${scene.type}: ${boot.name}`)
  const options = [...boot.options, ...(values.timeout === undefined ? [] : ['--timeout', values.timeout])]
  if (!options.includes('--timeout')) options.push('--timeout', '180')
  if (values.bytes !== undefined) options.push('--env', `BYTES=${values.bytes}`)
  const script = join(GUEST, scene.script)
  const args = ['--socket', socket, '--script', script, '--time', ...options]
  if (boot.extra !== undefined) args.push('--', ...boot.extra)
  const guest = spawn('bash', [join(GUEST, 'run-guest.sh'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(guest, 'exit')
  let results = 0
  for await (const line of createInterface({ input: guest.stdout })) {
    const result = /^(PASS|FAIL) (.*)/.exec(line)
    if (result === null) {
      say(`   ${line}`)
    } else {
      results++
      count(result[1] === 'PASS', `${boot.name}: ${result[2]}`)
    }
  }
  const [code] = await ended
  if (results === 0 || (code !== 0 && code >= 124))
    count(false, `${boot.name}: no result from the guest (exit code ${code})`)
}

function count(good, text) {
  console.log(`${good ? 'PASS' : 'FAIL'} ${text}`)
  if (good) passed++
  else failed++
}
