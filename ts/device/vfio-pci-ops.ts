/** vfio-pci as a device driver: the native one over a simulated function, in the shape that every driver has. */
import { isErrno, VfioError } from '../errors.ts'
import type { NativePciFunction, NativeVfioPci } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { later, syscall } from '../native/syscall.ts'
import { nativeDma } from './dma.ts'
import type { HotResetProvider } from './hot-reset.ts'
import { lookedUp, nativeEvent, nativeIrqSet } from './native-events.ts'
import { regionMapping } from './native-mapping.ts'
import { matchPciName } from './pci-name.ts'
import { accessRefusal, irqRefusal, mapRefusal, noIrq, noRegion, noReset } from './pci-refusal.ts'
import type {
  DeviceInfo,
  DmaAccess,
  DmaLoggingOps,
  EventTarget64,
  FeatureDescriptors,
  IoctlArgument,
  IrqInfo,
  IrqSetRequest,
  MigrationOps,
  RegionInfo,
  RegionMapping,
  VfioDeviceOps,
} from './ops.ts'

/** What a function brings beside its registers. */
export interface VfioPciOptions {
  hotReset?: HotResetProvider
  /** Migration, where the function migrates. */
  migration?: MigrationOps | undefined
  /** The function's own log of what it writes. */
  dmaLogging?: DmaLoggingOps | undefined
}

/** The driver of one simulated PCI function. */
export class VfioPciOps implements VfioDeviceOps {
  readonly name = 'vfio-pci'
  readonly native: NativeVfioPci
  readonly hotReset?: HotResetProvider
  readonly migration?: MigrationOps
  readonly dmaLogging?: DmaLoggingOps

  /** Drives `pci`. @throws {VfioError} EBUSY it is driven already */
  constructor(pci: NativePciFunction, options: VfioPciOptions = {}) {
    this.native = syscall('probe', () => new (addon().NativeVfioPci)(pci))
    const { hotReset, migration, dmaLogging } = options
    if (hotReset !== undefined) this.hotReset = hotReset
    if (migration !== undefined) this.migration = migration
    if (dmaLogging !== undefined) this.dmaLogging = dmaLogging
  }

  match(name: string): boolean {
    return matchPciName(this.native.pci.name, name)
  }

  openDevice(dma: DmaAccess | undefined): void {
    const view = dma === undefined ? undefined : nativeDma(dma)
    syscall('open', () => this.native.openDevice(view))
  }

  release(): void {
    this.native.close()
  }

  closeDevice(): void {
    this.native.closeDevice()
  }

  getInfo(): DeviceInfo {
    return syscall('VFIO_DEVICE_GET_INFO', () => this.native.getInfo())
  }

  getRegionInfo(index: number): RegionInfo {
    return syscall(
      'VFIO_DEVICE_GET_REGION_INFO',
      () => this.native.getRegionInfo(index),
      () => noRegion(index),
    )
  }

  getIrqInfo(index: number): IrqInfo {
    return syscall(
      'VFIO_DEVICE_GET_IRQ_INFO',
      () => this.native.getIrqInfo(index),
      () => noIrq(index),
    )
  }

  setIrqs(request: IrqSetRequest): void {
    const { index } = request
    const native = nativeIrqSet(request, this.#irqCount(index), this.getInfo().numIrqs)
    syscall(
      'VFIO_DEVICE_SET_IRQS',
      () => this.native.setIrqs(native),
      (code) => irqRefusal(code, index),
    )
  }

  reset(): void {
    syscall('VFIO_DEVICE_RESET', () => this.native.reset(), noReset)
  }

  read(region: number, offset: bigint, into: Uint8Array): number {
    const done = this.native.read(region, offset, into)
    if (done < 0) throw this.#refused('read', done, region, offset)
    return done
  }

  write(region: number, offset: bigint, from: Uint8Array): number {
    const done = this.native.write(region, offset, from)
    if (done < 0) throw this.#refused('write', done, region, offset)
    return done
  }

  async readAsync(region: number, offset: bigint, into: Uint8Array): Promise<number> {
    const bytes = await later(
      'read',
      () => this.native.submitRead(region, offset, into.byteLength),
      (code) => accessRefusal(code, this.native, region, offset),
    )
    into.set(bytes)
    return bytes.byteLength
  }

  writeAsync(region: number, offset: bigint, from: Uint8Array): Promise<number> {
    return later(
      'write',
      () => this.native.submitWrite(region, offset, from),
      (code) => accessRefusal(code, this.native, region, offset),
    )
  }

  mmap(
    region: number,
    offset: bigint,
    length: bigint,
    access: { read: boolean; write: boolean; shared: boolean },
  ): RegionMapping {
    if (!access.shared) throw new VfioError('EINVAL', 'mmap', { reason: 'a region is mapped shared' })
    const mapping = syscall(
      'mmap',
      () => this.native.mmap(region, offset, length, access),
      (code) => mapRefusal(code, this.native, region, offset),
    )
    return regionMapping(mapping, length)
  }

  ioeventfd(width: 1 | 2 | 4 | 8, offset: bigint, data: bigint, lookup: (() => EventTarget64) | undefined): void {
    const native = lookup === undefined ? null : lookedUp(lookup)
    syscall('VFIO_DEVICE_IOEVENTFD', () => this.native.ioeventfd(width, offset, data, native))
  }

  deviceFeature(flags: number, argument: IoctlArgument, argsz: number, descriptors: FeatureDescriptors): number {
    const shared = syscall('VFIO_DEVICE_FEATURE', () =>
      this.native.deviceFeature(flags, {
        length: argsz,
        read: (length, offset) => argument.read(length, offset),
        write: (data, offset) => argument.write(data, offset),
        event: (fd) => nativeEvent(descriptors.event(fd)),
      }),
    )
    return shared === undefined ? 0 : descriptors.installRegion({ region: shared.bar, ranges: shared.ranges })
  }

  matchToken(uuid: Uint8Array | undefined): void {
    if (uuid === undefined) return
    throw new VfioError('EINVAL', 'VFIO_DEVICE_BIND_IOMMUFD', { reason: 'only virtual functions take a token' })
  }

  request(count: number): void {
    this.native.request(count)
  }

  #refused(operation: string, status: number, region: number, offset: bigint): VfioError {
    const { code } = VfioError.fromStatus(status, operation)
    return new VfioError(code, operation, accessRefusal(code, this.native, region, offset))
  }

  /** How many interrupts an index has; none where the function lacks it. */
  #irqCount(index: number): number {
    try {
      return this.getIrqInfo(index).count
    } catch (error) {
      if (isErrno(error, 'EINVAL')) return 0
      throw error
    }
  }
}
