/** Virtual IOMMUs and what belongs to them as objects: `IOMMUFD_OBJ_VIOMMU`, `VDEVICE`, `VEVENTQ`, `HW_QUEUE`. */
import { VfioError } from '../errors.ts'
import type { NativeDevicePort, NativeEventFd } from '../native/addon.ts'
import type { NativeEventQueue } from '../native/addon-nesting.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import type { DescriptorFile } from './descriptor.ts'
import type { HwptPaging } from './hwpt.ts'
import type { HardwareQueue, RegisterPage, VirtualIommu } from './nesting.ts'
import { IommufdObject } from './object.ts'

/** A device that a guest can know. */
export interface GuestDevice {
  readonly port: NativeDevicePort | undefined
  vdevice: Vdevice | undefined
}

/** A virtual IOMMU on top of a page table that maps a guest's memory. */
export class Viommu extends IommufdObject {
  readonly kind = 'viommu'
  readonly parent: HwptPaging
  readonly driver: VirtualIommu
  /** Devices by the guest's number. */
  readonly devices = new Map<bigint, Vdevice>()
  readonly #registers: { remove(page: RegisterPage): void }
  events: Veventq | undefined

  constructor(registers: { remove(page: RegisterPage): void }, parent: HwptPaging, driver: VirtualIommu) {
    super()
    this.#registers = registers
    this.parent = parent
    this.driver = driver
    parent.hold()
  }

  /** The guest's number of a device. */
  virtIdOf(device: GuestDevice): bigint | undefined {
    for (const known of this.devices.values()) if (known.device === device) return known.virtId
    return undefined
  }

  destroy(): void {
    if (this.driver.registers !== undefined) this.#registers.remove(this.driver.registers)
    this.parent.release()
  }
}

/** A device as a guest knows it. It goes with the device. */
export class Vdevice extends IommufdObject {
  readonly kind = 'vdevice'
  readonly viommu: Viommu
  readonly device: GuestDevice
  readonly virtId: bigint

  /** @throws {VfioError} EEXIST the device has one, or the guest's number is taken */
  constructor(viommu: Viommu, device: GuestDevice, virtId: bigint) {
    super()
    if (device.vdevice !== undefined || viommu.devices.has(virtId)) {
      throw new VfioError('EEXIST', 'IOMMU_VDEVICE_ALLOC', {
        reason: device.vdevice === undefined ? `number ${virtId} is taken` : 'the device has a virtual device',
      })
    }
    this.viommu = viommu
    this.device = device
    this.virtId = virtId
    viommu.hold()
    viommu.devices.set(virtId, this)
    device.vdevice = this
    this.#join(true)
  }

  destroy(): void {
    this.#join(false)
    this.viommu.devices.delete(this.virtId)
    this.device.vdevice = undefined
    this.viommu.release()
  }

  #join(known: boolean): void {
    const { native } = this.viommu.driver
    if (native !== undefined) this.device.port?.join(native, this.virtId, known)
  }
}

/** A queue of a virtual IOMMU's events. */
export class Veventq extends IommufdObject {
  readonly kind = 'veventq'
  readonly type: number
  /** Signalled when there is something to read. */
  readonly event: NativeEventFd
  readonly native: NativeEventQueue
  readonly #viommu: Viommu

  /** @throws {VfioError} EEXIST it has one of that kind */
  constructor(viommu: Viommu, type: number, depth: number) {
    super()
    const operation = 'IOMMU_VEVENTQ_ALLOC'
    if (viommu.events?.type === type) {
      throw new VfioError('EEXIST', operation, { reason: 'the virtual IOMMU has a queue of that kind' })
    }
    this.type = type
    this.event = syscall(operation, () => addon().NativeEventFd.create(0n))
    this.native = syscall(operation, () => new (addon().iommufd.EventQueue)(depth, this.event))
    this.#viommu = viommu
    viommu.hold()
    viommu.events = this
    viommu.driver.native?.setEvents(this.native)
  }

  /** Reads what fits into `room` bytes. @throws {VfioError} EINVAL not even the first */
  read(room: number): Uint8Array {
    const bytes = syscall('read', () => this.native.read(room))
    if (!this.native.readable()) {
      this.event.read()
      if (this.native.readable()) this.event.signal()
    }
    return bytes
  }

  destroy(): void {
    this.#viommu.driver.native?.setEvents(undefined)
    this.#viommu.events = undefined
    this.#viommu.release()
    this.native.close()
    this.event.close()
  }
}

/** The file of a queue of events, which keeps it. */
export class VeventqFile implements DescriptorFile {
  readonly kind = 'iommufd-viommu-event'
  readonly #context: { hold(): void; release(): void }
  readonly #queue: Veventq

  constructor(context: { hold(): void; release(): void }, queue: Veventq) {
    this.#context = context
    this.#queue = queue
    queue.hold()
    context.hold()
  }

  /** Reads headers and events. @throws {VfioError} ESPIPE a position; EINVAL no room for a header, or for the first event */
  read(_caller: unknown, into: Uint8Array, position: bigint | undefined): number {
    if (position !== undefined && position !== 0n) {
      throw new VfioError('ESPIPE', 'read', { reason: 'a queue has no positions' })
    }
    const bytes = this.#queue.read(into.byteLength)
    into.set(bytes)
    return bytes.byteLength
  }

  poll(): number {
    return this.#queue.native.readable() ? 1 : 0
  }

  release(): void {
    this.#queue.release()
    this.#context.release()
  }
}

/** A queue that hardware reads from a guest's memory. */
export class HwQueue extends IommufdObject {
  readonly kind = 'hw-queue'
  readonly #viommu: Viommu
  readonly #queue: HardwareQueue

  /** @throws {VfioError} as the hardware */
  constructor(viommu: Viommu, index: number, base: bigint, length: bigint) {
    super()
    this.#viommu = viommu
    this.#queue = viommu.driver.makeQueue(index, base, length)
    viommu.hold()
  }

  override get users(): number {
    return super.users + (this.#queue.inUse === true ? 1 : 0)
  }

  destroy(): void {
    this.#queue.destroy()
    this.#viommu.release()
  }
}
