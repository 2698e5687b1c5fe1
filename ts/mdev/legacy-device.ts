/** A device of an older parent as a VFIO device: the parent's callbacks get the mediated device and parse bytes. */
import type { BusDriverOps } from '../device/bus-driver-ops.ts'
import { byteOps } from '../device/byte-ops.ts'
import type { VfioDeviceOps } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { MdevParentOps } from './legacy-ops.ts'
import type { Mdev } from './model.ts'

/** Gives the callbacks of one device over those of its parent. */
export function legacyDevice(mdev: Mdev, ops: MdevParentOps): VfioDeviceOps {
  const { read, write, ioctl, mmap } = ops
  const driver: BusDriverOps<Mdev> = {
    name: mdev.parent.driver.name,
    openDevice: () => {
      if (ops.open === undefined) throw new VfioError('EINVAL', 'open', { reason: "the parent's driver has no open" })
      ops.open(mdev)
    },
    closeDevice: () => ops.release?.(mdev),
    ...(read && { read: read.bind(ops) }),
    ...(write && { write: write.bind(ops) }),
    ...(ioctl && { ioctl: ioctl.bind(ops) }),
    ...(mmap && { mmap: mmap.bind(ops) }),
  }
  return byteOps(mdev, driver)
}
