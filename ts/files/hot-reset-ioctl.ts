/** Hot reset as bytes: `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO` and `VFIO_DEVICE_PCI_HOT_RESET`. */
import type { DeviceSession } from '../device/device-session.ts'
import type { IoctlArgument } from '../device/ops.ts'
import { readStruct, writeStruct } from '../device/struct-argument.ts'
import { VfioError } from '../errors.ts'
import { vfioPciDependentDevice, vfioPciHotReset, vfioPciHotResetInfo } from '../uapi/structs.ts'
import { readS32 } from './argument.ts'
import type { Caller } from './open-file.ts'

/** Lists the devices that the reset reaches. @throws {VfioError} ENOTTY, EFAULT, EINVAL `argsz`, ENODEV no reset, ENOSPC no room (`count` says for how many) */
export function hotResetInfo(session: DeviceSession, argument: IoctlArgument): number {
  const operation = 'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO'
  requireBus(session, operation)
  const { argsz } = readStruct(argument, vfioPciHotResetInfo, vfioPciHotResetInfo.size, operation)
  const devices = session.hotResetInfo()
  const answer = { argsz, flags: 0, count: devices.length }
  const room = Math.floor((argsz - vfioPciHotResetInfo.size) / vfioPciDependentDevice.size)
  if (devices.length > room) {
    writeStruct(argument, vfioPciHotResetInfo, answer)
    throw new VfioError('ENOSPC', operation, { reason: `there are ${devices.length} devices and room for ${room}` })
  }
  const list = new Uint8Array(devices.length * vfioPciDependentDevice.size)
  devices.forEach(({ group, segment, bus, devfn }, i) =>
    vfioPciDependentDevice.encode({ groupId: group, segment, bus, devfn }, list, i * vfioPciDependentDevice.size),
  )
  argument.write(list, vfioPciHotResetInfo.size)
  writeStruct(argument, vfioPciHotResetInfo, answer)
  return 0
}

/**
 * Resets slot or bus.
 * @throws {VfioError} ENOTTY, EFAULT, EINVAL `argsz`, flags or no group, ENODEV no reset, EINVAL too many groups, EFAULT the
 * list, EBADF and EINVAL a descriptor, EINVAL a device of no given group
 */
export function hotReset(session: DeviceSession, caller: Caller, argument: IoctlArgument): number {
  const operation = 'VFIO_DEVICE_PCI_HOT_RESET'
  requireBus(session, operation)
  const { flags, count } = readStruct(argument, vfioPciHotReset, vfioPciHotReset.size, operation)
  if (flags !== 0) throw new VfioError('EINVAL', operation, { reason: 'there are no flags' })
  if (count === 0) throw new VfioError('EINVAL', operation, { reason: 'the groups of the devices are asked for' })
  const affected = session.hotResetInfo()
  if (count > affected.length) throw new VfioError('EINVAL', operation, { reason: 'more groups than devices' })
  argument.read(count * 4, vfioPciHotReset.size)
  const groups = new Set<number>()
  for (let i = 0; i < count; i++) {
    const fd = readS32(argument, vfioPciHotReset.size + i * 4)
    const file = caller.file(fd)
    if (file === undefined) throw new VfioError('EBADF', operation, { reason: `descriptor ${fd} is not open` })
    if (file.groupSession === undefined)
      throw new VfioError('EINVAL', operation, { reason: `descriptor ${fd} is no group` })
    groups.add(file.groupSession.group.number)
  }
  session.hotReset(groups)
  return 0
}

function requireBus(session: DeviceSession, operation: string): void {
  if (session.ops(operation).hotReset === undefined) throw new VfioError('ENOTTY', operation)
}
