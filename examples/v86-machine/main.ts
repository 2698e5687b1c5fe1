/**
 * A PC that runs in Node, with devices of this package on its PCI bus.
 *
 *     node build/examples/v86-machine/main.js [GUEST] [--script FILE] [--file FILE]… [--env NAME=VALUE]… [--timeout SECONDS]
 *
 * GUEST is a folder with bios.bin, vgabios.bin, bzImage and a static busybox; without it, `make-v86-guest.sh` makes one of Debian's
 * packages. The guest's first serial port is the console: a shell (Ctrl-] ends the machine), or with `--script` that script,
 * whose exit code becomes this program's.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { V86 } from 'v86'
import { openDevices } from './devices.ts'
import { GuestConsole } from './guest-console.ts'
import { rootFileSystem } from './guest-files.ts'
import { VfioBus } from './pci-bus.ts'
import { insideOf } from './v86-inside.ts'

const MIB = 1 << 20
const MEMORY = 128 * MIB
/** Left to devices and to those who test them: the guest's kernel does not use it. */
const RESERVED = 8 * MIB
const SERIAL_SLOT = 12
const EDU_SLOT = 13
/** What gets a guest: in the package beside this program, in the repository among the tests. */
const MAKERS = ['make-v86-guest.sh', '../../../test/guest/make-v86-guest.sh']

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    script: { type: 'string' },
    file: { type: 'string', multiple: true },
    env: { type: 'string', multiple: true },
    timeout: { type: 'string' },
  },
})

/** Boots the guest of a folder; resolves with its exit code. */
async function boot(folder: string): Promise<number> {
  const part = (name: string): { buffer: ArrayBuffer } => ({ buffer: exact(readFileSync(join(folder, name))) })
  const files = rootFileSystem({
    busybox: join(folder, 'busybox'),
    script: values.script,
    files: values.file ?? [],
    environment: values.env ?? [],
  })
  const emulator = new V86({
    wasm_path: createRequire(import.meta.url).resolve('v86/build/v86.wasm'),
    bios: part('bios.bin'),
    vga_bios: part('vgabios.bin'),
    bzimage: part('bzImage'),
    initrd: { buffer: files.buffer },
    cmdline: `console=ttyS0 quiet loglevel=1 panic=-1 tsc=reliable memmap=${RESERVED}$${MEMORY - RESERVED}`,
    memory_size: MEMORY,
    vga_memory_size: 2 * MIB,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    autostart: false,
  })
  await new Promise<void>((resolve) => emulator.add_listener('emulator-ready', () => resolve()))

  using devices = openDevices()
  const bus = new VfioBus(insideOf(emulator), devices.container, (error) => console.error(error))
  bus.plug(devices.serial, SERIAL_SLOT)
  bus.plug(devices.edu, EDU_SLOT)
  const guestConsole = new GuestConsole(emulator, values.script === undefined)
  void emulator.run()
  try {
    return await guestConsole.ended(values.timeout === undefined ? undefined : Number(values.timeout) * 1000)
  } finally {
    await emulator.stop()
    bus.close()
    await emulator.destroy()
  }
}

/** The bytes in a buffer that holds nothing else. */
function exact(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer
}

/** Gets a guest of Debian's packages, once; returns its folder. */
function makeGuest(): string {
  const script = MAKERS.map((path) => fileURLToPath(new URL(path, import.meta.url))).find(existsSync)
  if (script === undefined) throw new Error('there is no make-v86-guest.sh; say in which folder a guest is')
  const made = spawnSync('bash', [script], { stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`${script} failed, see above`)
  return made.stdout.trim()
}

process.exitCode = await boot(positionals[0] ?? makeGuest())
