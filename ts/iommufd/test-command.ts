/**
 * `IOMMU_TEST_CMD`: the kernel's hooks for testing an iommufd without devices: a mock IOMMU with its devices, and accesses.
 *
 * Off unless the machine says so.
 */
import type { IoctlArgument } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { status, syscall } from '../native/syscall.ts'
import {
  IOMMU_TEST_OP_ACCESS_PAGES,
  IOMMU_TEST_OP_ACCESS_REPLACE_IOAS,
  IOMMU_TEST_OP_ACCESS_RW,
  IOMMU_TEST_OP_ADD_RESERVED,
  IOMMU_TEST_OP_CREATE_ACCESS,
  IOMMU_TEST_OP_DESTROY_ACCESS_PAGES,
  IOMMU_TEST_OP_DIRTY,
  IOMMU_TEST_OP_MD_CHECK_MAP,
  IOMMU_TEST_OP_MD_CHECK_REFS,
  IOMMU_TEST_OP_MOCK_DOMAIN,
  IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS,
  IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE,
  IOMMU_TEST_OP_PASID_ATTACH,
  IOMMU_TEST_OP_PASID_CHECK_HWPT,
  IOMMU_TEST_OP_PASID_DETACH,
  IOMMU_TEST_OP_PASID_REPLACE,
  IOMMU_TEST_OP_DEV_CHECK_CACHE,
  IOMMU_TEST_OP_MD_CHECK_IOTLB,
  IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT,
  IOMMU_TEST_OP_TRIGGER_IOPF,
  IOMMU_TEST_OP_TRIGGER_VEVENT,
  MOCK_ACCESS_RW_SLOW_PATH,
  MOCK_ACCESS_RW_WRITE,
  MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES,
  MOCK_FLAGS_ACCESS_WRITE,
  MOCK_FLAGS_DEVICE_NO_DIRTY,
  MOCK_FLAGS_DEVICE_PASID,
} from '../uapi/constants.ts'
import {
  testAccessPages,
  testAccessReplaceIoas,
  testAccessRw,
  testAddReserved,
  testCheckCache,
  testCheckMap,
  testCheckRefs,
  testCreateAccess,
  testDestroyAccessPages,
  testDirty,
  testMemoryLimit,
  testMockDomain,
  testMockDomainReplace,
  testPasid,
  testTriggerIopf,
  testTriggerVevent,
} from '../uapi/structs.ts'
import { requireZero, takeCommand } from './command.ts'
import type { IommufdContext } from './context.ts'
import type { IommufdCaller } from './descriptor.ts'
import { AttachGroup, IommufdDevice } from './device.ts'
import { mockHardware } from './hardware.ts'
import { HwptNested } from './hwpt-nested.ts'
import { HwptPaging } from './hwpt.ts'
import { IoasObject } from './ioas.ts'
import { deviceCache, MockTable } from './mock-nesting.ts'
import { IommufdObject } from './object.ts'
import { TestAccess } from './test-access.ts'

const OPERATION = 'IOMMU_TEST_CMD'
/** Most bytes of one access. */
const MOST = 16n << 20n
const PAGE = 4096n
/** Bytes of one entry of the kernel's lists. */
const LEAST_LIST = 12
/** Most pages that are marked at once. */
const MOST_PAGES = 1n << 20n

/** A mock device: bound and attached as long as it exists. */
class MockDevice extends IommufdObject {
  readonly kind = 'selftest'
  readonly #context: IommufdContext
  device: IommufdDevice | undefined

  constructor(context: IommufdContext) {
    super()
    this.#context = context
  }

  destroy(): void {
    const { device } = this
    this.device = undefined
    if (device === undefined) return
    device.leave()
    device.release()
    this.#context.objects.remove(device)
  }
}

type Operation = (context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller) => void

const OPERATIONS: ReadonlyMap<number, Operation> = new Map([
  [IOMMU_TEST_OP_ADD_RESERVED, addReserved],
  [IOMMU_TEST_OP_MOCK_DOMAIN, (context, argument) => mockDomain(context, argument, false)],
  [IOMMU_TEST_OP_MOCK_DOMAIN_FLAGS, (context, argument) => mockDomain(context, argument, true)],
  [IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE, mockDomainReplace],
  [IOMMU_TEST_OP_MD_CHECK_MAP, checkMap],
  [IOMMU_TEST_OP_MD_CHECK_REFS, checkRefs],
  [IOMMU_TEST_OP_SET_TEMP_MEMORY_LIMIT, setMemoryLimit],
  [IOMMU_TEST_OP_CREATE_ACCESS, createAccess],
  [IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, accessReplaceIoas],
  [IOMMU_TEST_OP_ACCESS_PAGES, accessPages],
  [IOMMU_TEST_OP_DESTROY_ACCESS_PAGES, destroyAccessPages],
  [IOMMU_TEST_OP_ACCESS_RW, accessRw],
  [IOMMU_TEST_OP_DIRTY, dirty],
  [IOMMU_TEST_OP_MD_CHECK_IOTLB, checkIotlb],
  [IOMMU_TEST_OP_DEV_CHECK_CACHE, checkDeviceCache],
  [IOMMU_TEST_OP_TRIGGER_IOPF, triggerIopf],
  [IOMMU_TEST_OP_TRIGGER_VEVENT, triggerVevent],
  [IOMMU_TEST_OP_PASID_ATTACH, (context, argument) => changePasid(context, argument, false)],
  [IOMMU_TEST_OP_PASID_REPLACE, (context, argument) => changePasid(context, argument, true)],
  [IOMMU_TEST_OP_PASID_DETACH, detachPasid],
  [IOMMU_TEST_OP_PASID_CHECK_HWPT, checkPasid],
])

/** Does an operation. @throws {VfioError} EOPNOTSUPP unknown, and what the operation refuses with */
export function testCommand(context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const { op } = takeCommand(argument, testMockDomain, OPERATION).value
  const operation = OPERATIONS.get(op)
  if (operation === undefined) throw new VfioError('EOPNOTSUPP', OPERATION, { reason: `there is no operation ${op}` })
  operation(context, argument, caller)
}

function addReserved(context: IommufdContext, argument: IoctlArgument): void {
  const { id, start, length } = takeCommand(argument, testAddReserved, OPERATION).value
  if (length === 0n) throw new VfioError('EINVAL', OPERATION, { reason: 'nothing is to be reserved' })
  if (start + length - 1n >= 2n ** 64n) throw new VfioError('EOVERFLOW', OPERATION, { address: start })
  const { native } = context.ioas(id, OPERATION)
  syscall(OPERATION, () => native.reserve([{ start, last: start + length - 1n }]))
}

function mockDomain(context: IommufdContext, argument: IoctlArgument, flagged: boolean): void {
  const command = takeCommand(argument, testMockDomain, OPERATION)
  const { id, devFlags } = command.value
  const flags = flagged ? devFlags : 0
  if ((flags & ~(MOCK_FLAGS_DEVICE_NO_DIRTY | MOCK_FLAGS_DEVICE_PASID)) !== 0) {
    throw new VfioError('EINVAL', OPERATION, { reason: 'unknown flags of the mock device' })
  }
  const { objects } = context
  const mock = objects.add(new MockDevice(context))
  try {
    const hardware = mockHardware((flags & MOCK_FLAGS_DEVICE_NO_DIRTY) === 0, (flags & MOCK_FLAGS_DEVICE_PASID) !== 0)
    const device = objects.add(new IommufdDevice(objects, new AttachGroup(), hardware))
    device.hold()
    mock.device = device
    const hwptId = device.attach(id)
    command.respond({ outStdevId: mock.id, outHwptId: hwptId, outIdevId: device.id })
  } catch (error) {
    objects.destroy(mock.id)
    throw error
  }
}

function mockDomainReplace(context: IommufdContext, argument: IoctlArgument): void {
  const command = takeCommand(argument, testMockDomainReplace, OPERATION)
  const { id, ptId } = command.value
  const { device } = context.objects.getOf(id, MockDevice, OPERATION)
  command.respond({ ptId: device?.replace(ptId) ?? ptId })
}

function checkMap(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const { id, iova, length, uptr } = takeCommand(argument, testCheckMap, OPERATION).value
  const hwpt = context.objects.getOf(id, HwptPaging, OPERATION)
  if (length === 0n) return
  syscall(OPERATION, () => hwpt.ioas.native.checkMap(hwpt.native, { iova, length }, task.mm, uptr))
}

/** Compares how often each page of user memory is pinned, by whatever iommufd of the machine. */
function checkRefs(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const { length, uptr, refs } = takeCommand(argument, testCheckRefs, OPERATION).value
  if (length % PAGE !== 0n || uptr % PAGE !== 0n || uptr + length >= 2n ** 64n) {
    throw new VfioError('EINVAL', OPERATION, { address: uptr, reason: 'the memory is not whole pages' })
  }
  const spaces = [...context.neighbours].flatMap(({ objects }) =>
    [...objects].filter((one) => one instanceof IoasObject),
  )
  const byte = new Uint8Array(1)
  for (let at = uptr; at < uptr + length; at += PAGE) {
    status(task.mm.read(at, byte), OPERATION, { address: at })
    const pinners = new Set(spaces.flatMap(({ native }) => native.pinners(task.mm, at)))
    if (pinners.size !== refs) {
      throw new VfioError('EIO', OPERATION, { address: at, reason: `the page is pinned ${pinners.size} times` })
    }
  }
}

/** Limits the kernel's temporary lists, of which there are none here. */
function setMemoryLimit(_context: IommufdContext, argument: IoctlArgument): void {
  const { limit } = takeCommand(argument, testMemoryLimit, OPERATION).value
  if (limit < LEAST_LIST) throw new VfioError('EINVAL', OPERATION, { reason: 'not one entry would have room' })
}

function createAccess(context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const command = takeCommand(argument, testCreateAccess, OPERATION)
  const { id, flags } = command.value
  requireZero(flags & ~MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES, OPERATION)
  const file = new TestAccess(context, (flags & MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES) !== 0)
  let fd: number | undefined
  try {
    file.access.attach(id)
    fd = caller.install(file)
    command.respond({ outAccessFd: fd })
  } catch (error) {
    if (fd === undefined) file.release()
    else caller.remove(fd)
    throw error
  }
}

function accessOf(caller: IommufdCaller, fd: number): TestAccess {
  const file = caller.file(fd | 0)
  if (file instanceof TestAccess) return file
  throw new VfioError('EBADFD', OPERATION, { reason: `descriptor ${fd} is no access` })
}

function accessReplaceIoas(_context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const { id, ioasId } = takeCommand(argument, testAccessReplaceIoas, OPERATION).value
  accessOf(caller, id).access.attach(ioasId)
}

function accessPages(_context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const command = takeCommand(argument, testAccessPages, OPERATION)
  const { id, flags, iova, length, uptr } = command.value
  requireSize(length)
  requireZero(flags & ~MOCK_FLAGS_ACCESS_WRITE, OPERATION)
  const file = accessOf(caller, id)
  if (!file.mayPin) throw new VfioError('EOPNOTSUPP', OPERATION, { reason: 'this access may not pin' })
  const write = (flags & MOCK_FLAGS_ACCESS_WRITE) !== 0
  const expected = uptr === 0n ? undefined : { mm: caller.mm, address: uptr - (iova % PAGE) }
  const outAccessPagesId = file.pin(iova, length, write, expected)
  try {
    command.respond({ outAccessPagesId })
  } catch (error) {
    file.unpin(outAccessPagesId)
    throw error
  }
}

function destroyAccessPages(_context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const { id, accessPagesId } = takeCommand(argument, testDestroyAccessPages, OPERATION).value
  accessOf(caller, id).unpin(accessPagesId)
}

function accessRw(_context: IommufdContext, argument: IoctlArgument, caller: IommufdCaller): void {
  const { id, flags, iova, length, uptr } = takeCommand(argument, testAccessRw, OPERATION).value
  requireSize(length)
  requireZero(flags & ~(MOCK_ACCESS_RW_WRITE | MOCK_ACCESS_RW_SLOW_PATH), OPERATION)
  const { native } = accessOf(caller, id).access
  if ((flags & MOCK_ACCESS_RW_WRITE) === 0) {
    const bytes = syscall(OPERATION, () => native.read(iova, Number(length)), { address: iova })
    status(caller.mm.write(uptr, bytes), OPERATION, { address: uptr })
    return
  }
  const bytes = new Uint8Array(Number(length))
  status(caller.mm.read(uptr, bytes), OPERATION, { address: uptr })
  syscall(OPERATION, () => native.write(iova, bytes), { address: iova })
}

function dirty(context: IommufdContext, argument: IoctlArgument, task: Task): void {
  const command = takeCommand(argument, testDirty, OPERATION)
  const { id, flags, iova, length, pageSize, uptr } = command.value
  const hwpt = context.objects.getOf(id, HwptPaging, OPERATION)
  const unaligned = pageSize === 0n || length === 0n || iova % pageSize !== 0n || length % pageSize !== 0n
  if (unaligned || uptr === 0n || flags !== 0) throw new VfioError('EINVAL', OPERATION)
  if (!hwpt.tracksDirty || !hwpt.ioas.native.isTracking(hwpt.native))
    throw new VfioError('EINVAL', OPERATION, { reason: 'the page table tracks no dirty pages' })
  const pages = length / pageSize
  if (pages > MOST_PAGES) throw new VfioError('ENOMEM', OPERATION)
  const bitmap = new Uint8Array(Number((pages + 7n) / 8n))
  status(task.mm.read(uptr, bitmap), OPERATION, { address: uptr })
  let count = 0n
  for (let page = 0n; page < pages; page++) {
    if (((bitmap[Number(page >> 3n)] ?? 0) & (1 << Number(page & 7n))) === 0) continue
    hwpt.ioas.native.markDirty(hwpt.native, iova + page * pageSize, pageSize)
    count++
  }
  command.respond({ outNrDirty: count })
}

/** Has a mock device request a page of what it is attached to; nothing comes of it where nobody takes requests. */
function triggerIopf(context: IommufdContext, argument: IoctlArgument): void {
  const { devId, pasid, grpid, perm, addr } = takeCommand(argument, testTriggerIopf, OPERATION).value
  const device = context.objects.getOf(devId, IommufdDevice, OPERATION)
  if (device.port !== undefined) throw new VfioError('EINVAL', OPERATION, { reason: 'this is no mock device' })
  // Where a PASID is attached to nothing, a guest's table answers for all of them.
  const own = device.hwpt(0)
  const faults = (device.hwpt(pasid) ?? (own instanceof HwptNested ? own : undefined))?.faults
  if (faults === undefined) return
  syscall(OPERATION, () => faults.native.report(device.id, pasid === 0 ? undefined : pasid, grpid, perm, addr))
}

/** Compares an entry of a mock page table's cache. */
function checkIotlb(context: IommufdContext, argument: IoctlArgument): void {
  const { id, entry, value } = takeCommand(argument, testCheckCache, OPERATION).value
  const { table } = context.objects.getOf(id, HwptNested, OPERATION)
  if (!(table instanceof MockTable) || table.cache[entry] !== value) {
    throw new VfioError('EINVAL', OPERATION, { reason: `entry ${entry} is another` })
  }
}

/** Compares an entry of a mock device's cache. */
function checkDeviceCache(context: IommufdContext, argument: IoctlArgument): void {
  const { id, entry, value } = takeCommand(argument, testCheckCache, OPERATION).value
  const device = context.objects.getOf(id, IommufdDevice, OPERATION)
  if (deviceCache(device)[entry] !== value) {
    throw new VfioError('EINVAL', OPERATION, { reason: `entry ${entry} is another` })
  }
}

/** Has a mock device cause an event of the virtual IOMMU whose page table it is attached to. */
function triggerVevent(context: IommufdContext, argument: IoctlArgument): void {
  const { devId } = takeCommand(argument, testTriggerVevent, OPERATION).value
  const device = context.objects.getOf(devId, IommufdDevice, OPERATION)
  const hwpt = device.hwpt()
  const viommu = hwpt instanceof HwptNested ? hwpt.viommu : undefined
  const virtId = viommu?.virtIdOf(device) ?? 0n
  if (viommu === undefined || virtId === 0n) {
    throw new VfioError('ENOENT', OPERATION, { reason: 'no virtual IOMMU knows the device' })
  }
  if (viommu.events === undefined) throw new VfioError('EOPNOTSUPP', OPERATION, { reason: 'nobody takes events' })
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, Number(BigInt.asUintN(32, virtId)), true)
  viommu.events.native.report(bytes)
}

function mockOf(context: IommufdContext, id: number): IommufdDevice {
  const { device } = context.objects.getOf(id, MockDevice, OPERATION)
  if (device === undefined) throw new VfioError('EINVAL', OPERATION, { reason: 'the mock device is gone' })
  return device
}

function changePasid(context: IommufdContext, argument: IoctlArgument, replace: boolean): void {
  const command = takeCommand(argument, testPasid, OPERATION)
  const { id, pasid, ptId } = command.value
  const device = mockOf(context, id)
  const attached = replace ? device.replace(ptId, pasid) : device.attach(ptId, pasid)
  command.respond({ ptId: attached })
}

function detachPasid(context: IommufdContext, argument: IoctlArgument): void {
  const { id, pasid } = takeCommand(argument, testPasid, OPERATION).value
  mockOf(context, id).detach(pasid)
}

/** Compares the page table of a PASID with one; 0 stands for none. */
function checkPasid(context: IommufdContext, argument: IoctlArgument): void {
  const { id, pasid, ptId } = takeCommand(argument, testPasid, OPERATION).value
  const attached = mockOf(context, id).hwpt(pasid)?.id ?? 0
  if (ptId !== 0) context.objects.get(ptId, OPERATION)
  if (attached !== ptId) throw new VfioError('EINVAL', OPERATION, { reason: `it is attached to ${attached}` })
}

function requireSize(length: bigint): void {
  if (length > MOST) throw new VfioError('ENOMEM', OPERATION, { reason: 'more than an access moves at once' })
}
