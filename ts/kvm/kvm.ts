/**
 * KVM as far as VFIO goes, by typed objects: a virtual machine, its VFIO device, the files that it uses.
 *
 * Two stand behind the same calls: a simulated machine's KVM (`process.openKvm()`), whose descriptors are those of the simulated
 * process, and the system's own (`openKvm()`), whose descriptors are this program's.
 */
import { invalidArgType, VfioError } from '../errors.ts'
import { u32, u64, type U64 } from '../shape.ts'

/** A VFIO device, whoever keeps it. */
export interface VfioDeviceBackend {
  add(fd: number): void
  delete(fd: number): void
  setSpaprTce(groupFd: number, tableFd: number): void
  has(group: number, attribute: bigint): void
  get(group: number, attribute: bigint): void
  close(): void
}

/** A virtual machine, whoever runs it. */
export interface VirtualMachineBackend {
  checkExtension(extension: number): number
  /** `test`: only asks whether there are such devices. */
  createVfioDevice(test: boolean): VfioDeviceBackend | undefined
  close(): void
}

/** A KVM. */
export interface KvmBackend {
  readonly name: 'software' | 'linux'
  apiVersion(): number
  checkExtension(extension: number): number
  createMachine(): VirtualMachineBackend
  close(): void
}

/** An open descriptor, or what has one. */
export type Descriptor = number | { readonly fd: number }

/** An open KVM. */
export class Kvm {
  readonly #owner: Owner<KvmBackend>

  /** @internal */
  constructor(backend: KvmBackend) {
    this.#owner = new Owner(backend, 'the KVM')
  }

  /** Who is behind it: a simulated machine, or the system. */
  get backend(): 'software' | 'linux' {
    return this.#owner.what.name
  }

  /** Version of the interface (`KVM_GET_API_VERSION`): 12. @throws {VfioError} EBADF closed */
  apiVersion(): number {
    return this.#owner.open('KVM_GET_API_VERSION').apiVersion()
  }

  /** How much of an extension is there (`KVM_CHECK_EXTENSION`); 0 is none. @throws {VfioError} EBADF closed */
  checkExtension(extension: number): number {
    return this.#owner.open('KVM_CHECK_EXTENSION').checkExtension(u32(extension, 'extension'))
  }

  /** Makes a virtual machine (`KVM_CREATE_VM`). @throws {VfioError} EBADF closed, ENOMEM, EMFILE, and what the system refuses with */
  createMachine(): KvmMachine {
    return new KvmMachine(this.#owner.open('KVM_CREATE_VM').createMachine())
  }

  /** Closes it (idempotent); machines stay. */
  close(): void {
    this.#owner.close()
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close()
  }
}

/** A virtual machine. */
export class KvmMachine {
  readonly #owner: Owner<VirtualMachineBackend>

  /** @internal */
  constructor(backend: VirtualMachineBackend) {
    this.#owner = new Owner(backend, 'the virtual machine')
  }

  /** How much of an extension is there (`KVM_CHECK_EXTENSION`); 0 is none. @throws {VfioError} EBADF closed */
  checkExtension(extension: number): number {
    return this.#owner.open('KVM_CHECK_EXTENSION').checkExtension(u32(extension, 'extension'))
  }

  /**
   * Refuses where it could have no VFIO device at all (`KVM_CREATE_DEVICE` with `KVM_CREATE_DEVICE_TEST`).
   * @throws {VfioError} EBADF closed, ENODEV
   */
  testVfioDevice(): void {
    this.#owner.open('KVM_CREATE_DEVICE').createVfioDevice(true)
  }

  /** Makes its VFIO device, of which it has one at most (`KVM_CREATE_DEVICE`). @throws {VfioError} EBADF closed, ENODEV, EBUSY there is one, EMFILE */
  createVfioDevice(): KvmVfio {
    const device = this.#owner.open('KVM_CREATE_DEVICE').createVfioDevice(false)
    if (device === undefined) throw new VfioError('ENODEV', 'KVM_CREATE_DEVICE')
    return new KvmVfio(device)
  }

  /** Closes it (idempotent); its device stays. */
  close(): void {
    this.#owner.close()
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close()
  }
}

/** The VFIO device of a virtual machine (`KVM_DEV_TYPE_VFIO`): it holds the files that the machine uses. */
export class KvmVfio {
  readonly #owner: Owner<VfioDeviceBackend>

  /** @internal */
  constructor(backend: VfioDeviceBackend) {
    this.#owner = new Owner(backend, 'the VFIO device')
  }

  /**
   * Adds a group's or device's file, which is held from now on (`KVM_DEV_VFIO_FILE_ADD`). Before `VFIO_GROUP_GET_DEVICE_FD` or
   * `VFIO_DEVICE_BIND_IOMMUFD`, for drivers that need to know the machine when they are opened.
   * @throws {VfioError} EBADF closed or no such descriptor, EINVAL it is neither, EEXIST it was added
   */
  add(file: Descriptor): void {
    this.#owner.open('KVM_SET_DEVICE_ATTR').add(fdOf(file, 'file'))
  }

  /** Lets a file go (`KVM_DEV_VFIO_FILE_DEL`). @throws {VfioError} EBADF closed or no such descriptor, ENOENT it was not added */
  delete(file: Descriptor): void {
    this.#owner.open('KVM_SET_DEVICE_ATTR').delete(fdOf(file, 'file'))
  }

  /**
   * Gives a group a TCE table of the guest (`KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE`).
   * @throws {VfioError} ENXIO no POWER machine, EBADF, ENOENT the group was not added, EINVAL no such table, or no window fits
   */
  setSpaprTce(group: Descriptor, table: Descriptor): void {
    const device = this.#owner.open('KVM_SET_DEVICE_ATTR')
    device.setSpaprTce(fdOf(group, 'group'), fdOf(table, 'table'))
  }

  /** Refuses an attribute that it does not have (`KVM_HAS_DEVICE_ATTR`). @throws {VfioError} EBADF closed, ENXIO */
  testAttribute(group: number, attribute: U64): void {
    this.#owner.open('KVM_HAS_DEVICE_ATTR').has(u32(group, 'group'), u64(attribute, 'attribute'))
  }

  /** Reads an attribute, which it never lets (`KVM_GET_DEVICE_ATTR`). @throws {VfioError} EBADF closed, EPERM */
  getAttribute(group: number, attribute: U64): void {
    this.#owner.open('KVM_GET_DEVICE_ATTR').get(u32(group, 'group'), u64(attribute, 'attribute'))
  }

  /** Closes it (idempotent): it lets all files go, and the machine can have another. */
  close(): void {
    this.#owner.close()
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close()
  }
}

/** Something open, until it is closed. */
class Owner<T extends { close(): void }> {
  readonly what: T
  readonly #name: string
  #closed = false

  constructor(what: T, name: string) {
    this.what = what
    this.#name = name
  }

  open(operation: string): T {
    if (this.#closed) throw new VfioError('EBADF', operation, { reason: `${this.#name} is closed` })
    return this.what
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.what.close()
  }
}

function fdOf(file: Descriptor, name: string): number {
  const fd: unknown = typeof file === 'object' && file !== null ? file.fd : file
  if (typeof fd === 'number' && Number.isInteger(fd) && fd >= -0x8000_0000 && fd <= 0x7fff_ffff) return fd
  throw invalidArgType(name, 'a descriptor, or an object with one', file)
}
