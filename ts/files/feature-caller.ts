/** What `VFIO_DEVICE_FEATURE` needs of the process that calls. */
import type { DeviceSession } from '../device/device-session.ts'
import type { FeatureCaller } from '../device/feature.ts'
import { VfioError } from '../errors.ts'
import { status } from '../native/syscall.ts'
import { DmaBufFile } from './dma-buf-file.ts'
import { eventOf } from './eventfd-lookup.ts'
import { MigrationStreamFile } from './migration-file.ts'
import type { Caller } from './open-file.ts'

/** Lets features reach the caller's memory and descriptors. */
export function featureCaller(caller: Caller, session: DeviceSession): FeatureCaller {
  return {
    readMemory: (address, into) => void status(caller.mm.read(address, into), 'VFIO_DEVICE_FEATURE', { address }),
    writeMemory: (address, from) => void status(caller.mm.write(address, from), 'VFIO_DEVICE_FEATURE', { address }),
    installStream: (stream) => {
      const { migration } = session.device
      if (migration === undefined) throw new VfioError('ENOTTY', 'VFIO_DEVICE_FEATURE')
      return caller.install(new MigrationStreamFile(stream, migration))
    },
    removeStream: (fd) => caller.remove(fd),
    event: (fd) => eventOf(caller, fd, 'VFIO_DEVICE_FEATURE'),
    installRegion: (shared) => caller.install(new DmaBufFile(session, shared)),
  }
}
