/** Commands on I/O address spaces: `IOMMU_IOAS_*`. */
import type { IoctlArgument } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import type { NativeIoasMapping, NativeIovaRange, NativeMemory } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { status, syscall } from '../native/syscall.ts'
import { IOMMU_IOAS_MAP_FIXED_IOVA, IOMMU_IOAS_MAP_READABLE, IOMMU_IOAS_MAP_WRITEABLE } from '../uapi/constants.ts'
import {
  iommuIoasAlloc,
  iommuIoasAllowIovas,
  iommuIoasChangeProcess,
  iommuIoasCopy,
  iommuIoasIovaRanges,
  iommuIoasMap,
  iommuIoasMapFile,
  iommuIoasNoiommuGetPa,
  iommuIoasUnmap,
  iommuIovaRange,
} from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import type { IommufdCaller } from './descriptor.ts'
import { IoasObject } from './ioas.ts'

const ACCESS = IOMMU_IOAS_MAP_WRITEABLE | IOMMU_IOAS_MAP_READABLE
const MAP_FLAGS = IOMMU_IOAS_MAP_FIXED_IOVA | ACCESS
const U64_MAX = 0xffff_ffff_ffff_ffffn

/** `IOMMU_IOAS_ALLOC`. @throws {VfioError} EOPNOTSUPP, EFAULT */
export function ioasAlloc(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_IOAS_ALLOC'
  const command = takeCommand(argument, iommuIoasAlloc, operation)
  requireZero(command.value.flags, operation)
  const ioas = context.allocIoas()
  try {
    command.respond({ outIoasId: ioas.id })
  } catch (error) {
    context.objects.destroy(ioas.id)
    throw error
  }
}

/** `IOMMU_IOAS_IOVA_RANGES`. @throws {VfioError} EOPNOTSUPP, ENOENT, EFAULT, EMSGSIZE no room for all */
export function ioasIovaRanges(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_IOAS_IOVA_RANGES'
  const command = takeCommand(argument, iommuIoasIovaRanges, operation)
  const { __reserved, ioasId, numIovas, allowedIovas } = command.value
  requireZero(__reserved, operation)
  const { native } = context.ioas(ioasId, operation)
  const ranges = native.usable()
  ranges.slice(0, numIovas).forEach((range, i) => {
    const address = BigInt.asUintN(64, allowedIovas + BigInt(i * iommuIovaRange.size))
    status(task.mm.write(address, iommuIovaRange.bytes(range)), operation, { address })
  })
  command.respond({ numIovas: ranges.length, outIovaAlignment: native.alignment() })
  if (ranges.length > numIovas) {
    throw new VfioError('EMSGSIZE', operation, { reason: `there are ${ranges.length} ranges, room for ${numIovas}` })
  }
}

/** `IOMMU_IOAS_ALLOW_IOVAS`. @throws {VfioError} EOPNOTSUPP, ENOENT, EFAULT, EINVAL, EADDRINUSE */
export function ioasAllowIovas(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_IOAS_ALLOW_IOVAS'
  const { __reserved, ioasId, numIovas, allowedIovas } = takeCommand(argument, iommuIoasAllowIovas, operation).value
  requireZero(__reserved, operation)
  const { native } = context.ioas(ioasId, operation)
  const ranges: NativeIovaRange[] = []
  try {
    for (let i = 0; i < numIovas; i++) {
      const address = BigInt.asUintN(64, allowedIovas + BigInt(i) * BigInt(iommuIovaRange.size))
      const bytes = new Uint8Array(iommuIovaRange.size)
      status(task.mm.read(address, bytes), operation, { address })
      const range = iommuIovaRange.decode(bytes)
      if (range.start >= range.last) throw new VfioError('EINVAL', operation, { reason: `range ${i} is empty` })
      ranges.push(range)
    }
  } catch (error) {
    // Ranges that overlap are told before one behind them that cannot be read.
    checkDisjoint(ranges, operation)
    throw error
  }
  checkDisjoint(ranges, operation)
  syscall(operation, () => native.allow(ranges))
}

function checkDisjoint(ranges: readonly NativeIovaRange[], operation: string): void {
  const sorted = [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1))
  const overlaps = sorted.some((range, i) => i > 0 && (sorted[i - 1]?.last ?? 0n) >= range.start)
  if (overlaps) throw new VfioError('EINVAL', operation, { reason: 'two ranges overlap' })
}

/** `IOMMU_IOAS_MAP`. @throws {VfioError} EOPNOTSUPP, EOVERFLOW, EINVAL, ENOENT, EEXIST, ENOSPC, EFAULT, ENOMEM */
export function ioasMap(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_IOAS_MAP'
  const command = takeCommand(argument, iommuIoasMap, operation)
  const { __reserved, ioasId, userVa } = command.value
  checkMap(command.value, __reserved, operation)
  const ioas = context.ioas(ioasId, operation)
  const mapping = mappingOf(context, task, command.value)
  const iova = syscall(operation, () => ioas.native.map(mapping, userVa), { address: command.value.iova })
  respondOrUnmap(ioas, iova, command.value.length, () => command.respond({ iova }))
}

/** `IOMMU_IOAS_MAP_FILE`. @throws {VfioError} as `IOMMU_IOAS_MAP`, and EBADF */
export function ioasMapFile(context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const operation = 'IOMMU_IOAS_MAP_FILE'
  const command = takeCommand(argument, iommuIoasMapFile, operation)
  const { ioasId, fd, start } = command.value
  checkMap(command.value, 0, operation)
  const ioas = context.ioas(ioasId, operation)
  const file = caller.file(fd)
  if (file === undefined) throw new VfioError('EBADF', operation, { reason: `descriptor ${fd} is not open` })
  const mapping = mappingOf(context, caller, command.value)
  const iova = syscall(operation, () => ioas.native.mapFile(mapping, memoryOf(file), start))
  respondOrUnmap(ioas, iova, command.value.length, () => command.respond({ iova }))
}

/** `IOMMU_IOAS_COPY`. @throws {VfioError} as `IOMMU_IOAS_MAP`, and EPERM */
export function ioasCopy(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_IOAS_COPY'
  const command = takeCommand(argument, iommuIoasCopy, operation)
  const { flags, length, srcIova, dstIova, srcIoasId, dstIoasId } = command.value
  requireZero(flags & ~MAP_FLAGS, operation)
  if (length === U64_MAX || srcIova === U64_MAX || dstIova === U64_MAX) throw overflow(operation)
  requireAccess(flags, operation)
  const source = context.ioas(srcIoasId, operation)
  const at = (flags & IOMMU_IOAS_MAP_FIXED_IOVA) === 0 ? undefined : dstIova
  // A source that cannot be copied is told before a target that is not there.
  if (!isIoas(context, dstIoasId)) {
    checkSource(source, { iova: srcIova, length }, operation)
  }
  const target = context.ioas(dstIoasId, operation)
  const range = { iova: srcIova, length }
  const iova = syscall(operation, () => target.native.copyFrom(source.native, range, at, accessOf(flags)))
  respondOrUnmap(target, iova, length, () => command.respond({ dstIova: iova }))
}

/** `IOMMU_IOAS_UNMAP`. @throws {VfioError} ENOENT, EOVERFLOW, EINVAL, EDEADLK */
export function ioasUnmap(context: IommufdContext, argument: IoctlArgument): void {
  const operation = 'IOMMU_IOAS_UNMAP'
  const command = takeCommand(argument, iommuIoasUnmap, operation)
  const { ioasId, iova, length } = command.value
  const ioas = context.ioas(ioasId, operation)
  let unmapped: bigint
  if (iova === 0n && length === U64_MAX) {
    unmapped = ioas.unmapAll()
  } else {
    if (iova === U64_MAX || length === U64_MAX) throw overflow(operation)
    unmapped = ioas.unmap(iova, length)
    if (unmapped === 0n) throw new VfioError('ENOENT', operation, { address: iova, reason: 'nothing is mapped there' })
  }
  command.respond({ length: unmapped })
}

/** `IOMMU_IOAS_CHANGE_PROCESS`. @throws {VfioError} EOPNOTSUPP, EINVAL memory of a process is mapped, ENOMEM */
export function ioasChangeProcess(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_IOAS_CHANGE_PROCESS'
  requireZero(takeCommand(argument, iommuIoasChangeProcess, operation).value.__reserved, operation)
  const spaces = [...context.objects].filter((object) => object instanceof IoasObject)
  if (!spaces.every((ioas) => ioas.native.isAllFiles())) {
    throw new VfioError('EINVAL', operation, {
      reason: 'memory of a process is mapped, which only that process can pay for',
      remedy: 'map files',
    })
  }
  for (const ioas of spaces) syscall(operation, () => ioas.native.changeProcess(task.mm, context.chargeProcess))
}

/** `IOMMU_IOAS_NOIOMMU_GET_PA`. @throws {VfioError} EPERM, EOPNOTSUPP, EINVAL, EOVERFLOW, ENOENT, EFAULT */
export function ioasNoiommuGetPa(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const operation = 'IOMMU_IOAS_NOIOMMU_GET_PA'
  const command = takeCommand(argument, iommuIoasNoiommuGetPa, operation)
  if (!task.capable('CAP_SYS_RAWIO')) {
    throw new VfioError('EPERM', operation, { reason: 'physical addresses take CAP_SYS_RAWIO' })
  }
  const { flags, __reserved, ioasId, iova, length } = command.value
  requireZero(flags | __reserved, operation)
  if (length === 0n) throw new VfioError('EINVAL', operation, { reason: 'no bytes are asked for' })
  if (iova === U64_MAX) throw overflow(operation)
  const ioas = context.ioas(ioasId, operation)
  checkSource(ioas, { iova, length: 1n }, operation)
  if (![...ioas.hwpts].some((hwpt) => !hwpt.hardware.isolates)) {
    throw new VfioError('EOPNOTSUPP', operation, { reason: 'no device without isolation is attached' })
  }
  const found = syscall(operation, () => ioas.native.physical(iova, length), { address: iova })
  command.respond({ length: found.length, outPhys: found.host })
}

function checkMap(
  { flags, iova, length }: { flags: number; iova: bigint; length: bigint },
  reserved: number,
  operation: string,
): void {
  requireZero((flags & ~MAP_FLAGS) | reserved, operation)
  if (iova === U64_MAX || length === U64_MAX) throw overflow(operation)
  requireAccess(flags, operation)
}

function requireAccess(flags: number, operation: string): void {
  if ((flags & ACCESS) !== 0) return
  throw new VfioError('EINVAL', operation, {
    reason: 'devices may neither read nor write',
    remedy: 'set IOMMU_IOAS_MAP_READABLE or IOMMU_IOAS_MAP_WRITEABLE',
  })
}

function accessOf(flags: number): { read: boolean; write: boolean } {
  return { read: (flags & IOMMU_IOAS_MAP_READABLE) !== 0, write: (flags & IOMMU_IOAS_MAP_WRITEABLE) !== 0 }
}

function mappingOf(
  context: IommufdContext,
  task: Task,
  { flags, iova, length }: { flags: number; iova: bigint; length: bigint },
): NativeIoasMapping {
  const mapping = { mm: task.mm, chargeProcess: context.chargeProcess, length, ...accessOf(flags) }
  return (flags & IOMMU_IOAS_MAP_FIXED_IOVA) === 0 ? mapping : { ...mapping, iova }
}

/** Tells the caller, or undoes what it could not be told. */
function respondOrUnmap(ioas: IoasObject, iova: bigint, length: bigint, respond: () => void): void {
  try {
    respond()
  } catch (error) {
    ioas.native.unmap(iova, length)
    throw error
  }
}

/** Refuses a source with a hole. */
function checkSource(source: IoasObject, range: { iova: bigint; length: bigint }, operation: string): void {
  const scratch = syscall(operation, () => new (addon().iommufd.Ioas)())
  syscall(operation, () => scratch.copyFrom(source.native, range, range.iova, { read: true, write: false }))
}

function isIoas(context: IommufdContext, id: number): boolean {
  return [...context.objects].some((object) => object.id === id && object instanceof IoasObject)
}

function overflow(operation: string): VfioError {
  return new VfioError('EOVERFLOW', operation, { reason: 'an address or length is the last there is' })
}

/** The memory behind a file, if it is a memfd. */
function memoryOf(file: object): NativeMemory | undefined {
  const { memory } = file as { memory?: { native?: NativeMemory } }
  return memory?.native
}
