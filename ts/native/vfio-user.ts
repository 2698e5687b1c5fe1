/** Whether the addon speaks vfio-user: it does where sockets pass descriptors the way of Linux. */
import { VfioError } from '../errors.ts'
import type { Binding } from './binding.ts'

/** Why it does not, where it does not. */
export const NO_VFIO_USER = `${process.platform} has no sockets that pass memory as Linux's do`

/** Whether `raw` was built with vfio-user. */
export function hasVfioUser(raw: Binding): boolean {
  const { NativeServer, connectDevice } = raw as Partial<Binding>
  return NativeServer !== undefined && connectDevice !== undefined
}

/** What calls of vfio-user are answered without it. */
export function noVfioUser(syscall: string): VfioError {
  return new VfioError('EOPNOTSUPP', syscall, { reason: NO_VFIO_USER, remedy: 'capabilities() tells beforehand' })
}
