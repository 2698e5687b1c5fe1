/** What the `.node` file exports for FUSE, as callers see it. The classes need no wrapping: nothing of theirs is a handle. */
import type { NativeMountFuse } from './addon-fuse.ts'

/** The part of the `.node` file; absent on systems without FUSE. */
export interface FuseBinding {
  mountFuse?: NativeMountFuse
}

/** The part of the addon. */
export interface FuseAddon {
  /** Absent on systems without FUSE. */
  readonly mountFuse: NativeMountFuse | undefined
}

/** Takes it out of the `.node` file. */
export function fuseAddon(raw: FuseBinding): FuseAddon {
  return { mountFuse: raw.mountFuse }
}
