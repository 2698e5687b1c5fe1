/**
 * Loads the native addon, at first use, and says what to do where that fails.
 *
 * Importing this module never fails and never loads anything; {@link addon} does.
 */
import { createRequire } from 'node:module'
import type { Addon } from './addon.ts'

let loaded: Addon | undefined

/**
 * The native addon.
 * @throws {Error} ERR_VFIO_ADDON: there is no addon for this system, or it does not load
 */
export function addon(): Addon {
  loaded ??= load()
  return loaded
}

function load(): Addon {
  const require = createRequire(import.meta.url)
  return require('../../native/vfio.linux-x64-gnu.node') as Addon
}
