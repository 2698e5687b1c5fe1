/** What the guest's kernel starts from. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { CHARACTER_DEVICE, FILE, FOLDER, initramfs, type Entry } from './initramfs.ts'

/** Files of this machine that go into the guest. */
export interface GuestFiles {
  /** A busybox without shared libraries. */
  busybox: string
  /** What to run; absent: a shell. */
  script?: string | undefined
  /** What the script wants, to be found in /files. */
  files: readonly string[]
  /** Environment of the script: `NAME=VALUE`. */
  environment: readonly string[]
}

/** The console's last line, with the exit code of the script. */
export const ENDED = /^guest ended: (\d+)$/

const SHELL = 'exec setsid cttyhack sh'

const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ TERM=linux
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
stty -echo -onlcr
. /environment
sh /script; code=$?
echo; echo "guest ended: $code"
while :; do sleep 1; done
`

/** What the guest's kernel starts from: busybox, the script, and the files that it wants. */
export function rootFileSystem({ busybox, script, files, environment }: GuestFiles): Uint8Array<ArrayBuffer> {
  const executable = (path: string, content: Uint8Array): Entry => ({ path, mode: FILE | 0o755, content })
  return initramfs([
    ...['bin', 'dev', 'proc', 'sys', 'tmp', 'files'].map((path) => ({ path, mode: FOLDER | 0o755 })),
    { path: 'dev/console', mode: CHARACTER_DEVICE | 0o600, device: [5, 1] },
    executable('bin/busybox', readFileSync(busybox)),
    executable('init', Buffer.from(INIT)),
    executable(
      'environment',
      Buffer.from(environment.map((line) => `export '${line.replaceAll("'", `'\\''`)}'\n`).join('')),
    ),
    executable('script', script === undefined ? Buffer.from(SHELL) : readFileSync(script)),
    ...files.map((file) => executable(`files/${basename(file)}`, readFileSync(file))),
  ])
}
