/** Structures that the hardware's driver knows, in memory of whoever calls (`struct iommu_user_data`). */
import type { Task } from '../device/task.ts'
import { VfioError } from '../errors.ts'
import { status } from '../native/syscall.ts'
import type { Codec, Decoded, Fields } from '../uapi/codec.ts'

/** One structure of the caller's. */
export interface UserData {
  readonly task: Task
  readonly type: number
  readonly address: bigint
  readonly length: number
}

/** Entries of the caller's, one behind the other. */
export interface UserArray extends Omit<UserData, 'length'> {
  readonly entryLength: number
  readonly entries: number
}

/**
 * Copies a structure in; members behind its length are 0.
 * @throws {VfioError} EINVAL another kind of data, shorter than `least` or longer than known; EFAULT
 */
export function takeData<F extends Fields>(
  data: UserData,
  type: number,
  codec: Codec<F>,
  least: number,
  operation: string,
): Decoded<F> {
  if (data.type !== type || data.length < least || data.length > codec.size) {
    throw new VfioError('EINVAL', operation, {
      reason: `${data.length} bytes of kind 0x${data.type.toString(16)} are not ${codec.name}`,
    })
  }
  const bytes = new Uint8Array(codec.size)
  read(data.task, data.address, bytes.subarray(0, data.length), operation)
  return codec.decode(bytes)
}

/** Copies a structure out, as much of it as the caller has room for. @throws {VfioError} EFAULT */
export function giveData(data: UserData, bytes: Uint8Array, operation: string): void {
  const { task, address, length } = data
  status(task.mm.write(address, bytes.subarray(0, length)), operation, { address })
}

/** Copies the entry of an array in. @throws {VfioError} as {@link takeData} */
export function takeEntry<F extends Fields>(
  array: UserArray,
  at: number,
  type: number,
  codec: Codec<F>,
  least: number,
  operation: string,
): Decoded<F> {
  const address = entryAddress(array, at)
  return takeData({ ...array, address, length: array.entryLength }, type, codec, least, operation)
}

/** Copies a number into the entry of an array, if the entry reaches so far. @throws {VfioError} EFAULT */
export function giveEntryU32(array: UserArray, at: number, offset: number, value: number, operation: string): void {
  if (array.entryLength < offset + 4) return
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value, true)
  const address = BigInt.asUintN(64, entryAddress(array, at) + BigInt(offset))
  status(array.task.mm.write(address, bytes), operation, { address })
}

function entryAddress({ address, entryLength }: UserArray, at: number): bigint {
  return BigInt.asUintN(64, address + BigInt(at) * BigInt(entryLength))
}

function read(task: Task, address: bigint, into: Uint8Array, operation: string): void {
  status(task.mm.read(address, into), operation, { address })
}
