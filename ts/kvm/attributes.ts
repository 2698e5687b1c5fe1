/** What the attributes of a simulated machine's VFIO device do: the rules behind its file and its typed form. */
import { VfioError } from '../errors.ts'
import {
  KVM_DEV_VFIO_FILE,
  KVM_DEV_VFIO_FILE_ADD,
  KVM_DEV_VFIO_FILE_DEL,
  KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
} from '../uapi/constants.ts'
import type { HeldFile, KvmCaller } from './held-file.ts'
import type { KvmVfioDevice } from './vfio-device.ts'

const SET = 'KVM_SET_DEVICE_ATTR'

/** Refuses an attribute that the device does not have. @throws {VfioError} ENXIO */
export function requireAttribute(device: KvmVfioDevice, operation: string, group: number, attribute: bigint): void {
  const known =
    attribute === BigInt(KVM_DEV_VFIO_FILE_ADD) ||
    attribute === BigInt(KVM_DEV_VFIO_FILE_DEL) ||
    (attribute === BigInt(KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE) && device.setSpaprTce !== undefined)
  if (group === KVM_DEV_VFIO_FILE && known) return
  throw new VfioError('ENXIO', operation, { reason: `there is no attribute ${attribute} in group ${group}` })
}

/** Refuses to read an attribute. @throws {VfioError} EPERM */
export function refuseToRead(): never {
  throw new VfioError('EPERM', 'KVM_GET_DEVICE_ATTR', { reason: 'attributes of this device are only set' })
}

/** Adds a file. @throws {VfioError} EBADF, EINVAL no file of VFIO, EEXIST */
export function addFile(device: KvmVfioDevice, caller: KvmCaller, fd: number): void {
  device.add(hold(caller, fd))
}

/** Takes a file away. @throws {VfioError} EBADF, ENOENT */
export function deleteFile(device: KvmVfioDevice, caller: KvmCaller, fd: number): void {
  const held = hold(caller, fd)
  try {
    device.delete(held.file)
  } finally {
    held.release()
  }
}

/** Gives a group a table. @throws {VfioError} EBADF, ENOENT the group was not added, and what the attacher refuses with */
export function setSpaprTce(device: KvmVfioDevice, caller: KvmCaller, groupFd: number, tableFd: number): void {
  const group = hold(caller, groupFd)
  try {
    if (!device.has(group.file)) throw new VfioError('ENOENT', SET, { reason: 'the group was not added' })
    const table = hold(caller, tableFd)
    try {
      device.setSpaprTce?.(group.file, table.file)
    } finally {
      table.release()
    }
  } finally {
    group.release()
  }
}

function hold(caller: KvmCaller, fd: number): HeldFile {
  const held = caller.hold(fd)
  if (held === undefined) throw new VfioError('EBADF', SET, { reason: `descriptor ${fd} is not open` })
  return held
}
