/** Where a host listens: a socket in a folder that only its user can enter. */
import { lstatSync, mkdirSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { VfioError } from '../../index.ts'

/** The socket to use: `given`, or `VFIO_HOST`, or one in the user's runtime folder. */
export function socketPath(given?: string): string {
  const named = given ?? (process.env['VFIO_HOST'] || undefined)
  if (named !== undefined) return resolve(named)
  const runtime = process.env['XDG_RUNTIME_DIR']
  const folder = runtime ? join(runtime, 'vfio') : join(tmpdir(), `vfio-${userInfo().uid}`)
  return join(folder, 'host.sock')
}

/**
 * Makes the folder of a socket, private, where it is missing; one that belongs to someone else is refused.
 * @throws {VfioError} EPERM the folder of the default socket is another user's, or open to others
 */
export function prepareFolder(path: string): void {
  const folder = dirname(path)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (path !== socketPath()) return
  const { uid, mode } = lstatSync(folder)
  if (uid === process.getuid?.() && (mode & 0o022) === 0) return
  throw new VfioError('EPERM', 'listen', {
    path: folder,
    reason: 'the folder of the socket is not private',
    remedy: 'remove it, or name another socket with --socket',
  })
}
