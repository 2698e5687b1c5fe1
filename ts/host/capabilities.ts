/** What this installation can do, and why it cannot do the rest. */
import { accessSync, constants } from 'node:fs'
import { addon } from '../native/load.ts'
import { target } from '../native/target.ts'
import { NO_VFIO_USER } from '../native/vfio-user.ts'

/** Whether something is there, and if not, why. */
export interface Availability {
  available: boolean
  reason?: string
}

/** What {@link capabilities} tells. */
export interface BackendCapabilities {
  /** The backend spoken of. */
  backend: 'software'
  /** Target of the native part, such as `'linux-x64-gnu'`. */
  target: string
  /** The native part: without it, topologies and trees can be built, but no process runs. */
  native: Availability
  /** Containers with `VFIO_TYPE1_IOMMU` and `VFIO_TYPE1v2_IOMMU`. */
  type1: Availability
  /** Mediated devices. */
  mdev: Availability
  /** Events with a descriptor that other programs can wait for; without, events work within this process. */
  eventfd: Availability
  /** Memory that other processes can map. */
  memfd: Availability
  /** Views on memory of this package's own (`HostMemory.view`) without a descriptor. Memory with one has views without them, too. */
  externalBuffers: Availability
  /** `/dev/iommu`. */
  iommufd: Availability
  /** The KVM-VFIO device. */
  kvm: Availability
  /** The system's own KVM (`openKvm`). */
  linuxKvm: Availability
  /** `VFIO_SPAPR_TCE_IOMMU`. */
  spapr: Availability
  /** Devices served to other programs by vfio-user. */
  vfioUser: Availability
  /** Machines as files of the operating system (`host.mount`); whether this user may mount is told by trying. */
  mount: Availability
  /** The kernel's own `/dev/vfio`. */
  linux: Availability
}

const EXTERNAL_BUFFERS = {
  allowed: { available: true },
  refused: { available: false, reason: "this runtime's engine refuses buffers over memory that is not its own" },
  'switched off': { available: false, reason: 'they are switched off by VFIO_EXTERNAL_BUFFERS=0' },
} as const satisfies Record<string, Availability>

/** Tells what this installation can do on this system; never throws. */
export function capabilities(): BackendCapabilities {
  const native = nativeAvailability()
  const needsLinux: Availability =
    process.platform === 'linux' ? native : { available: false, reason: `${process.platform} has no such thing` }
  const missing: Availability = { available: false, reason: 'not part of this version' }
  return {
    backend: 'software',
    target: target(),
    native,
    type1: native,
    mdev: native,
    eventfd: needsLinux,
    memfd: needsLinux,
    externalBuffers: native.available ? EXTERNAL_BUFFERS[addon().externalBuffers()] : native,
    iommufd: native,
    kvm: native,
    linuxKvm: needsLinux.available ? reachable('/dev/kvm', 'KVM') : needsLinux,
    spapr: native,
    vfioUser: process.platform === 'linux' ? native : { available: false, reason: NO_VFIO_USER },
    mount: needsLinux.available ? reachable('/dev/fuse', 'FUSE') : needsLinux,
    linux: missing,
  }
}

/** Tells whether a device node of the system can be opened. */
function reachable(path: string, what: string): Availability {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return { available: true }
  } catch (error) {
    return { available: false, reason: `${what} cannot be used: ${(error as Error).message}` }
  }
}

function nativeAvailability(): Availability {
  try {
    addon()
    return { available: true }
  } catch (error) {
    return { available: false, reason: error instanceof Error ? error.message : String(error) }
  }
}
