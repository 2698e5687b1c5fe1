/** A machine whose tree lies where Debian's mdevctl looks, and mdevctl itself. */
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { mtty, SoftwareHost } from '../../ts/index.ts'
import { folder, program, type Outcome } from '../mount/folder.ts'
import { fuseLack } from '../needs.ts'

const GET = fileURLToPath(new URL('get-mdevctl.sh', import.meta.url))

/** Folders that mdevctl wants below its root. */
const FOLDERS = ['sys', 'etc/mdevctl.d', 'usr/lib/mdevctl/scripts.d/callouts', 'usr/lib/mdevctl/scripts.d/notifiers']

/** Fetches mdevctl unless it is there. What cannot be had is a reason to skip. */
export async function findMdevctl(): Promise<{ path: string } | { lack: string }> {
  const lack = fuseLack()
  if (lack !== undefined) return { lack }
  try {
    const { stdout } = await promisify(execFile)('bash', [GET])
    return { path: join(stdout.trim(), 'mdevctl') }
  } catch (error) {
    const said = String((error as { stderr?: string }).stderr ?? error).trim()
    return { lack: `mdevctl cannot be had here: ${said.split('\n').at(-1)}` }
  }
}

/** A machine with an mtty parent, mounted for mdevctl. */
export async function managed(mdevctl: string) {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty())
  const root = folder()
  for (const name of FOLDERS) mkdirSync(join(root, name), { recursive: true })
  const mount = await host.mount(join(root, 'sys'), { tree: 'sys' })
  const env = { MDEVCTL_ENV_ROOT: root, RUST_BACKTRACE: '0', RUST_LIB_BACKTRACE: '0' }
  return {
    host,
    root,
    /** Where definitions are. */
    definitions: join(root, 'etc', 'mdevctl.d'),
    /** Runs mdevctl. */
    run: (...args: string[]): Promise<Outcome> => program(mdevctl, args, env),
    async [Symbol.asyncDispose]() {
      host.close()
      await mount.closed
    },
  }
}
