/**
 * One open of a device (`struct vfio_device_file`): what the typed handle and the device file both call.
 *
 * Every rule about a device that is not its driver's own stands here or in `vfio-device.ts`, once.
 */
import { VfioError } from '../errors.ts'
import { deviceFeature, type FeatureCaller } from './feature.ts'
import type { HotResetDevice } from './hot-reset.ts'
import type {
  DeviceInfo,
  EventTarget64,
  FeatureDescriptors,
  IoctlArgument,
  IrqInfo,
  IrqSetRequest,
  RegionInfo,
  RegionMapping,
  VfioDeviceOps,
} from './ops.ts'
import type { DeviceAccess, DeviceUser, VfioDevice } from './vfio-device.ts'

/** An open device. Ungranted (a character device before it is bound) it refuses everything with EINVAL. */
export class DeviceSession implements DeviceUser {
  readonly device: VfioDevice
  /** Runs when the device asks its users to let go. */
  onRequest: ((count: number) => void) | undefined
  /** Runs once, when the session has closed. */
  onClose: (() => void) | undefined
  /** The virtual machine that this open was given to (`KVM_DEV_VFIO_FILE_ADD`), before it is bound. */
  machine: object | undefined
  #access: DeviceAccess | undefined
  #closed = false

  constructor(device: VfioDevice) {
    this.device = device
  }

  /** Opens `device` through `access`. @throws {VfioError} what the access or the driver refuses with */
  static open(device: VfioDevice, access: DeviceAccess): DeviceSession {
    const session = new DeviceSession(device)
    session.grant(access)
    return session
  }

  /** The way in: undefined before access was granted. */
  get access(): DeviceAccess | undefined {
    return this.#access
  }

  get closed(): boolean {
    return this.#closed
  }

  /**
   * Grants access to the device; `announce` tells the user of it, and where that fails nothing was granted.
   * @throws {VfioError} EBADF closed, EINVAL granted already, and what opening refuses with
   */
  grant(access: DeviceAccess, announce?: () => void): void {
    if (this.#closed) throw new VfioError('EBADF', 'open')
    if (this.#access !== undefined) throw new VfioError('EINVAL', 'open', { reason: 'access was granted already' })
    this.device.open(this, access)
    try {
      announce?.()
    } catch (error) {
      this.device.close(this)
      throw error
    }
    this.#access = access
  }

  requested(count: number): void {
    this.onRequest?.(count)
  }

  /** `VFIO_DEVICE_GET_INFO`. */
  info(): DeviceInfo {
    return this.ops('VFIO_DEVICE_GET_INFO').getInfo()
  }

  /** `VFIO_DEVICE_GET_REGION_INFO`. @throws {VfioError} EINVAL no such region */
  regionInfo(index: number): RegionInfo {
    return this.ops('VFIO_DEVICE_GET_REGION_INFO').getRegionInfo(index)
  }

  /** `VFIO_DEVICE_GET_IRQ_INFO`. @throws {VfioError} EINVAL no such index */
  irqInfo(index: number): IrqInfo {
    return this.ops('VFIO_DEVICE_GET_IRQ_INFO').getIrqInfo(index)
  }

  /** `VFIO_DEVICE_SET_IRQS`. @throws {VfioError} EINVAL, ENOTTY, EBADF an event */
  setIrqs(request: IrqSetRequest): void {
    this.ops('VFIO_DEVICE_SET_IRQS').setIrqs(request)
  }

  /** As {@link setIrqs}, without holding this thread up. */
  async setIrqsAsync(request: IrqSetRequest): Promise<void> {
    const ops = this.ops('VFIO_DEVICE_SET_IRQS')
    return ops.setIrqsAsync === undefined ? ops.setIrqs(request) : ops.setIrqsAsync(request)
  }

  /** `VFIO_DEVICE_RESET`. @throws {VfioError} ENOTTY the driver has none, EINVAL the device has none */
  reset(): void {
    const ops = this.ops('VFIO_DEVICE_RESET')
    if (ops.reset === undefined)
      throw new VfioError('ENOTTY', 'VFIO_DEVICE_RESET', { reason: `${ops.name} resets no device` })
    ops.reset()
  }

  /** As {@link reset}, without holding this thread up. */
  async resetAsync(): Promise<void> {
    const ops = this.ops('VFIO_DEVICE_RESET')
    return ops.resetAsync === undefined ? this.reset() : ops.resetAsync()
  }

  /** Reads from a region. @throws {VfioError} EINVAL, and EAGAIN where the device answers later */
  read(region: number, offset: bigint, into: Uint8Array): number {
    const done = this.#read(region, offset, into)
    if (typeof done === 'number') return done
    done.catch(() => {}) // the answer comes too late to be told
    throw new VfioError('EAGAIN', 'read', { reason: 'the device answers later', remedy: 'read it asynchronously' })
  }

  /** Reads from a region of a device that may answer later. */
  async readAsync(region: number, offset: bigint, into: Uint8Array): Promise<number> {
    const ops = this.ops('read')
    return ops.readAsync === undefined ? this.#read(region, offset, into) : ops.readAsync(region, offset, into)
  }

  /** Writes to a region. A device that completes later has taken the bytes when this returns. @throws {VfioError} EINVAL */
  write(region: number, offset: bigint, from: Uint8Array): number {
    const done = this.#write(region, offset, from)
    if (typeof done === 'number') return done
    done.catch(() => {}) // posted: nobody waits for it
    return from.byteLength
  }

  /** Writes to a region and waits until the device is done with it. */
  async writeAsync(region: number, offset: bigint, from: Uint8Array): Promise<number> {
    const ops = this.ops('write')
    return ops.writeAsync === undefined ? this.#write(region, offset, from) : ops.writeAsync(region, offset, from)
  }

  /** Maps part of a region. @throws {VfioError} EINVAL */
  mmap(
    region: number,
    offset: bigint,
    length: bigint,
    access: { read: boolean; write: boolean; shared: boolean },
  ): RegionMapping {
    const ops = this.ops('mmap')
    if (ops.mmap === undefined) throw new VfioError('EINVAL', 'mmap', { reason: `${ops.name} maps no region` })
    const mapping = ops.mmap(region, offset, length, access)
    if (isMapping(mapping)) return mapping
    throw new VfioError('EIO', 'mmap', { reason: `${ops.name} gave no mapping` })
  }

  /** `VFIO_DEVICE_IOEVENTFD`. @throws {VfioError} ENOTTY, and what the driver refuses with */
  ioeventfd(width: 1 | 2 | 4 | 8, offset: bigint, data: bigint, lookup: (() => EventTarget64) | undefined): void {
    const ops = this.ops('VFIO_DEVICE_IOEVENTFD')
    if (ops.ioeventfd === undefined) throw new VfioError('ENOTTY', 'VFIO_DEVICE_IOEVENTFD')
    ops.ioeventfd(width, offset, data, lookup)
  }

  /** `VFIO_DEVICE_GET_PCI_HOT_RESET_INFO`. @throws {VfioError} ENOTTY no such bus, ENODEV no such reset */
  hotResetInfo(): readonly HotResetDevice[] {
    return this.#hotReset('VFIO_DEVICE_GET_PCI_HOT_RESET_INFO').affected()
  }

  /**
   * `VFIO_DEVICE_PCI_HOT_RESET`: resets slot or bus, if all devices there belong to `groups` (numbers), which the caller holds.
   * @throws {VfioError} ENOTTY no such bus, ENODEV no such reset, EINVAL a device there is not the caller's
   */
  hotReset(groups: ReadonlySet<number>): void {
    const provider = this.#hotReset('VFIO_DEVICE_PCI_HOT_RESET')
    const foreign = provider.affected().find((device) => !device.bound || !groups.has(device.group))
    if (foreign !== undefined) {
      throw new VfioError('EINVAL', 'VFIO_DEVICE_PCI_HOT_RESET', {
        reason: foreign.bound
          ? `group ${foreign.group} is affected and not given`
          : `a device of group ${foreign.group} has no VFIO driver`,
        remedy: foreign.bound ? 'open that group and give it too' : 'bind that device to vfio-pci',
      })
    }
    provider.reset()
  }

  /** `VFIO_DEVICE_FEATURE`. @throws {VfioError} EFAULT, EINVAL, ENOTTY no such feature, and what the feature refuses with */
  feature(argument: IoctlArgument, caller: FeatureCaller): number {
    this.ops('VFIO_DEVICE_FEATURE')
    return deviceFeature(this.device, argument, caller)
  }

  /** Any other request. @throws {VfioError} ENOTTY */
  ioctl(request: number, argument: IoctlArgument, descriptors: FeatureDescriptors): number {
    const ops = this.ops('ioctl')
    if (ops.ioctl === undefined) throw new VfioError('ENOTTY', 'ioctl')
    return ops.ioctl(request, argument, descriptors)
  }

  /** The driver's callbacks, if this session may use them. @throws {VfioError} EBADF closed, EINVAL not granted */
  ops(operation: string): VfioDeviceOps {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: `the device ${this.device.name} is closed` })
    if (this.#access === undefined) {
      throw new VfioError('EINVAL', operation, {
        reason: 'no access yet',
        remedy: 'bind the device to an iommufd first',
      })
    }
    return this.device.ops
  }

  /** Closes the session (idempotent). */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      if (this.#access !== undefined) this.device.close(this)
    } finally {
      this.onClose?.()
    }
  }

  #hotReset(operation: string) {
    const { hotReset } = this.ops(operation)
    if (hotReset === undefined) throw new VfioError('ENOTTY', operation)
    return hotReset
  }

  #read(region: number, offset: bigint, into: Uint8Array): number | Promise<number> {
    const ops = this.ops('read')
    if (ops.read === undefined) throw new VfioError('EINVAL', 'read', { reason: `${ops.name} reads no region` })
    return ops.read(region, offset, into)
  }

  #write(region: number, offset: bigint, from: Uint8Array): number | Promise<number> {
    const ops = this.ops('write')
    if (ops.write === undefined) throw new VfioError('EINVAL', 'write', { reason: `${ops.name} writes no region` })
    return ops.write(region, offset, from)
  }
}

/** Tells whether a driver gave what it has to: others rely on it long after the call. */
function isMapping(given: unknown): given is RegionMapping {
  const { length, read, write, close } = (given ?? {}) as Record<keyof RegionMapping, unknown>
  return typeof length === 'bigint' && length >= 0n && [read, write, close].every((call) => typeof call === 'function')
}
