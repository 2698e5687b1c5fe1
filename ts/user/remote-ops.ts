/** The driver of a device in another process: every callback is a message to its server. */
import { nativeIrqSet } from '../device/native-events.ts'
import { regionMapping } from '../device/native-mapping.ts'
import type {
  DeviceInfo,
  DmaLoggingOps,
  IoctlArgument,
  IrqInfo,
  IrqSetRequest,
  MigrationOps,
  RegionInfo,
  RegionMapping,
  VfioDeviceOps,
} from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { NativeRemoteDevice } from '../native/addon.ts'
import { later, syscall, type Details } from '../native/syscall.ts'
import { VFIO_DEVICE_FEATURE_SET } from '../uapi/constants.ts'
import { remoteDmaLogging, remoteMigration } from './remote-features.ts'

/** Says of a failure of the connection what it means and what to do. */
export const remoteDetails: Details = (code) => {
  switch (code) {
    case 'EDEADLK':
      return {
        reason: 'the device is emulated by this very thread, which would wait for itself',
        remedy: 'use the promise form, or connect from another thread',
      }
    case 'ETIMEDOUT':
      return { reason: 'the server did not answer in time' }
    case 'ENOTCONN':
      return { reason: 'the server has gone', remedy: 'close the device and connect again' }
    case 'EPROTO':
      return { reason: 'the server made no sense' }
    default:
      return {}
  }
}

/** The driver of one connection. */
export class RemoteOps implements VfioDeviceOps {
  readonly name = 'vfio-user'
  readonly native: NativeRemoteDevice
  readonly migration?: MigrationOps
  readonly dmaLogging?: DmaLoggingOps

  constructor(native: NativeRemoteDevice) {
    this.native = native
    const flags = native.migrationFlags()
    if (flags !== undefined) this.migration = remoteMigration(native, flags)
    if (native.logsDma()) this.dmaLogging = remoteDmaLogging(native)
  }

  closeDevice(): void {
    this.native.close()
  }

  getInfo(): DeviceInfo {
    return syscall('VFIO_DEVICE_GET_INFO', () => this.native.getInfo(), remoteDetails)
  }

  getRegionInfo(index: number): RegionInfo {
    return syscall('VFIO_DEVICE_GET_REGION_INFO', () => this.native.getRegionInfo(index), remoteDetails)
  }

  getIrqInfo(index: number): IrqInfo {
    return syscall('VFIO_DEVICE_GET_IRQ_INFO', () => this.native.getIrqInfo(index), remoteDetails)
  }

  setIrqs(request: IrqSetRequest): void {
    syscall('VFIO_DEVICE_SET_IRQS', () => this.native.setIrqs(this.#irqSet(request)), remoteDetails)
  }

  setIrqsAsync(request: IrqSetRequest): Promise<void> {
    return later('VFIO_DEVICE_SET_IRQS', () => this.native.submitIrqs(this.#irqSet(request)), remoteDetails)
  }

  reset(): void {
    syscall('VFIO_DEVICE_RESET', () => this.native.reset(), remoteDetails)
  }

  resetAsync(): Promise<void> {
    return later('VFIO_DEVICE_RESET', () => this.native.submitReset(), remoteDetails)
  }

  read(region: number, offset: bigint, into: Uint8Array): number {
    const length = this.#length(region, offset, into.byteLength)
    if (length > 0) into.set(syscall('read', () => this.native.read(region, offset, length), remoteDetails))
    return length
  }

  async readAsync(region: number, offset: bigint, into: Uint8Array): Promise<number> {
    const length = this.#length(region, offset, into.byteLength)
    if (length > 0) into.set(await later('read', () => this.native.submitRead(region, offset, length), remoteDetails))
    return length
  }

  write(region: number, offset: bigint, from: Uint8Array): number {
    const length = this.#length(region, offset, from.byteLength)
    if (length > 0) syscall('write', () => this.native.write(region, offset, from.subarray(0, length)), remoteDetails)
    return length
  }

  async writeAsync(region: number, offset: bigint, from: Uint8Array): Promise<number> {
    const length = this.#length(region, offset, from.byteLength)
    const part = from.subarray(0, length)
    if (length > 0) await later('write', () => this.native.submitWrite(region, offset, part), remoteDetails)
    return length
  }

  mmap(
    region: number,
    offset: bigint,
    length: bigint,
    access: { read: boolean; write: boolean; shared: boolean },
  ): RegionMapping {
    if (!access.shared) throw new VfioError('EINVAL', 'mmap', { reason: 'a region is mapped shared' })
    const mapping = syscall('mmap', () => this.native.mmap(region, offset, length), remoteDetails)
    return regionMapping(mapping, length)
  }

  deviceFeature(flags: number, argument: IoctlArgument, argsz: number): number {
    const data = (flags & VFIO_DEVICE_FEATURE_SET) === 0 ? new Uint8Array() : argument.read(argsz)
    const answer = syscall('VFIO_DEVICE_FEATURE', () => this.native.feature(flags, data, argsz), remoteDetails)
    if (data.byteLength === 0 && answer.byteLength > 0) argument.write(answer)
    return 0
  }

  /** How much of an access lies inside a region; it ends where the region does, as everywhere. @throws {VfioError} EINVAL beyond it */
  #length(region: number, offset: bigint, length: number): number {
    const { size } = this.getRegionInfo(region)
    if (offset >= size && length > 0) {
      throw new VfioError('EINVAL', 'access', {
        address: offset,
        reason: size === 0n ? `there is no region ${region}` : `region ${region} has ${size} bytes`,
      })
    }
    return offset + BigInt(length) > size ? Number(size - offset) : length
  }

  #irqSet(request: IrqSetRequest) {
    const { numIrqs } = this.getInfo()
    const irqs = request.index < numIrqs ? this.getIrqInfo(request.index).count : 0
    return nativeIrqSet(request, irqs, numIrqs)
  }
}
