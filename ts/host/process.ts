/**
 * A process of the simulated machine: an address space, descriptors, capabilities and limits.
 *
 * The kernel's rules speak of processes: whose memory is mapped, whose limit is charged, who may open what. The typed API works
 * in the machine's default process; the byte-exact door, and whoever cares for limits, makes processes of its own.
 */
import { Container } from '../container/container.ts'
import type { RegionMapping } from '../device/ops.ts'
import type { Task } from '../device/task.ts'
import { invalidArgType, VfioError } from '../errors.ts'
import { EventFdFile } from '../files/eventfd-file.ts'
import { MemoryFile } from '../files/memory-file.ts'
import type { Caller, OpenFile } from '../files/open-file.ts'
import { makePipe } from '../files/pipe-file.ts'
import { Group } from '../group/group.ts'
import type { HostMemory } from '../memory/host-memory.ts'
import type { Iommufd } from '../iommufd/iommufd.ts'
import type { Kvm } from '../kvm/kvm.ts'
import { softwareKvm } from '../kvm/software-kvm.ts'
import type { GuestTceTable } from '../spapr/guest-tce-table.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { list, oneOf, record, text, u32, u64, type U64 } from '../shape.ts'
import { allCapabilities, type Capability } from './capability.ts'
import { Descriptors, OpenDescription } from './descriptors.ts'
import { FileHandle, type HandleOwner } from './file-handle.ts'
import { GuestTableFile, type GuestTableOptions, makeGuestTable } from './guest-tables.ts'
import type { ProcessMachine } from './process-machine.ts'
import { hostMemory, type MapOptions, ProcessMemory } from './process-memory.ts'

/** What a process is made of. */
export interface ProcessOptions {
  /** Capabilities that it has; default all for user 0, else none. */
  caps?: readonly Capability[]
  /** Capabilities that it has not, of those. */
  dropCapabilities?: readonly string[]
  /** RLIMIT_MEMLOCK in bytes; default 8 MiB; 2^64-1 is no limit. It binds where CAP_IPC_LOCK is missing. */
  memlock?: U64
  /** RLIMIT_NOFILE; default 1048576. */
  nofile?: number
  /** User and group; default root. */
  uid?: number
  gid?: number
}

const MEMLOCK = 8n << 20n
const NOFILE = 1 << 20
const ACCESS = { r: [true, false], w: [false, true], rw: [true, true] } as const

/** A process. It ends with `exit()`, which closes all it has open. */
export class HostProcess implements Task {
  readonly #machine: ProcessMachine
  readonly #mm: NativeAddressSpace
  readonly #capabilities: Set<string>
  readonly #memory: ProcessMemory
  readonly #options: ProcessOptions
  readonly #handles = new Map<number, FileHandle>()
  readonly #owner: HandleOwner
  #exited = false

  /**
   * Made by `host.process()`.
   * @internal
   */
  constructor(machine: ProcessMachine, options: ProcessOptions = {}, descriptors?: Descriptors) {
    record(options, 'options')
    const memlock = u64(options.memlock ?? MEMLOCK, 'memlock')
    const nofile = u32(options.nofile ?? NOFILE, 'nofile')
    u32(options.uid ?? 0, 'uid')
    u32(options.gid ?? 0, 'gid')
    this.#machine = machine
    this.#options = { ...options }
    this.#capabilities = capabilitiesOf(options)
    const { NativeAddressSpace } = addon()
    this.#mm = new NativeAddressSpace({
      memlock,
      capIpcLock: this.capable('CAP_IPC_LOCK'),
      pageSize: machine.pageSize,
    })
    this.#memory = new ProcessMemory(this.#mm)
    const owned = descriptors ?? new Descriptors(nofile)
    this.#owner = {
      caller: this.#makeCaller(owned),
      descriptors: owned,
      file: (fd) => this.file(fd),
      request: (number) => machine.request(number),
      mapped: (mapping, access) => this.#memory.mapFile(mapping, access),
    }
    machine.started(this)
  }

  /**
   * Its address space.
   * @internal
   */
  get mm(): NativeAddressSpace {
    return this.#mm
  }

  /** User that it runs as. */
  get uid(): number {
    return this.#options.uid ?? 0
  }

  /** Group that it runs as. */
  get gid(): number {
    return this.#options.gid ?? 0
  }

  /** Whether it has ended. */
  get exited(): boolean {
    return this.#exited
  }

  /** Locked memory in pages (`VmLck`), which type1 and mlock charge. */
  get lockedVm(): bigint {
    return this.#mm.lockedVm()
  }

  /** Pinned memory in pages (`VmPin`), which iommufd charges. */
  get pinnedVm(): bigint {
    return this.#mm.pinnedVm()
  }

  /** Tells whether it has a capability such as `'CAP_SYS_RAWIO'`. */
  capable(capability: string): boolean {
    return this.#capabilities.has(capability)
  }

  /** Address of the first byte of `memory`, which is mapped if it lies nowhere yet. @throws {VfioError} ENOMEM, EBADF */
  place(memory: HostMemory): bigint {
    this.#alive('mmap')
    return this.#memory.place(memory)
  }

  /** Opens a container (`/dev/vfio/vfio`). @throws {VfioError} EBADF the process has ended, EACCES */
  openContainer(): Container {
    this.#alive('open')
    this.#mayOpen('/dev/vfio/vfio')
    return new Container(this.#machine.makeContainer(), this)
  }

  /**
   * Opens a group by number (`/dev/vfio/N`).
   * @throws {VfioError} ENOENT no device of it is bound to a VFIO driver, EACCES, EPERM, EBUSY it is open
   */
  openGroup(number: number): Group {
    this.#alive('open')
    const group = this.#machine.vfioGroup(u32(number, 'number'))
    this.#mayOpen(`/dev/vfio/${group.name}`)
    return new Group(group, this)
  }

  /** Opens an iommufd (`/dev/iommu`). @throws {VfioError} EBADF the process has ended, ENODEV the machine has none */
  openIommufd(): Iommufd {
    this.#alive('open')
    return this.#machine.makeIommufd(this)
  }

  /** Opens the machine's KVM (`/dev/kvm`), which takes descriptors of this process. @throws {VfioError} EBADF the process has ended, EACCES */
  openKvm(): Kvm {
    this.#alive('open')
    this.#mayOpen('/dev/kvm')
    return softwareKvm(this.#owner.caller, this.#machine.guests())
  }

  /**
   * Opens a device node, to read (`r`), write (`w`) or both.
   * @throws {VfioError} ENOENT, EACCES, EISDIR, EMFILE, and what the device refuses with
   */
  open(path: string, mode: 'r' | 'w' | 'rw' = 'rw'): FileHandle {
    this.#alive('open')
    const [read, write] = ACCESS[oneOf(mode, ['r', 'w', 'rw'], 'mode')]
    const node = this.#machine.dev.lookup(text(path, 'path'), this, { read, write })
    return this.#install(node.open(this.#owner.caller), { read, write })
  }

  /** Makes an eventfd, non-blocking. @throws {VfioError} EMFILE */
  eventfd(initial: U64 = 0n): FileHandle {
    this.#alive('eventfd')
    return this.#install(new EventFdFile(u64(initial, 'initial')))
  }

  /** Makes a pipe, non-blocking. @throws {VfioError} EMFILE */
  pipe(): { read: FileHandle; write: FileHandle } {
    this.#alive('pipe')
    const ends = makePipe()
    const read = this.#install(ends.read, { read: true, write: false })
    try {
      return { read, write: this.#install(ends.write, { read: false, write: true }) }
    } catch (error) {
      read.close()
      throw error
    }
  }

  /** Gives memory a descriptor, as a memfd has one. The memory stays the caller's. @throws {VfioError} EMFILE */
  openMemory(memory: HostMemory): FileHandle {
    this.#alive('open')
    return this.#install(new MemoryFile(hostMemory(memory)))
  }

  /**
   * Makes a TCE table for a guest of this process, and gives it a descriptor, as `KVM_CREATE_SPAPR_TCE_64` does.
   * @throws {VfioError} EINVAL no whole pages, EEXIST guest memory overlaps, EMFILE
   */
  openGuestTable(options: GuestTableOptions): { file: FileHandle; table: GuestTceTable } {
    this.#alive('KVM_CREATE_SPAPR_TCE_64')
    const table = makeGuestTable(options, this)
    return { file: this.#install(new GuestTableFile(table)), table }
  }

  /** The handle of a descriptor. @throws {VfioError} EBADF it is not open */
  file(fd: number): FileHandle {
    if (typeof fd !== 'number') throw invalidArgType('fd', 'a number', fd)
    const handle = this.fileOrUndefined(fd)
    if (!handle) throw new VfioError('EBADF', 'file', { reason: `descriptor ${fd} is not open` })
    return handle
  }

  /** The handle of a descriptor, if it is open. */
  fileOrUndefined(fd: number): FileHandle | undefined {
    const description = this.#owner.descriptors.get(fd)
    if (!description) {
      this.#handles.delete(fd)
      return undefined
    }
    const known = this.#handles.get(fd)
    if (known?.describes(description)) return known
    const handle = new FileHandle(this.#owner, fd, description)
    this.#handles.set(fd, handle)
    return handle
  }

  /** Maps memory and returns its address. @throws {VfioError} EINVAL, EEXIST the wanted address is taken, ENOMEM */
  map(memory: HostMemory, options: MapOptions = {}): bigint {
    this.#alive('mmap')
    return this.#memory.map(memory, options)
  }

  /** Unmaps what lies in a range, as munmap does. @throws {VfioError} EINVAL */
  unmap(address: U64, length: U64): void {
    this.#memory.unmap(address, length)
  }

  /** Changes what may be done with a range. @throws {VfioError} EINVAL, ENOMEM a hole */
  protect(address: U64, length: U64, access: { read: boolean; write: boolean }): void {
    this.#memory.protect(address, length, access)
  }

  /** Locks a range into memory, charging its pages. @throws {VfioError} ENOMEM over the limit or a hole, EPERM */
  mlock(address: U64, length: U64): void {
    this.#memory.lock(address, length)
  }

  /** Unlocks a range. @throws {VfioError} ENOMEM a hole */
  munlock(address: U64, length: U64): void {
    this.#memory.unlock(address, length)
  }

  /** Reads memory of the process. @throws {VfioError} EFAULT */
  readMemory(address: U64, length: number): Uint8Array {
    return this.#memory.read(address, length)
  }

  /** Writes memory of the process. @throws {VfioError} EFAULT */
  writeMemory(address: U64, from: ArrayBufferView | ArrayBuffer | SharedArrayBuffer): void {
    this.#memory.write(address, from)
  }

  /** Address at which a mapping of a file lies. @throws {VfioError} EINVAL it is none of this process */
  addressOf(mapping: RegionMapping): bigint {
    return this.#memory.addressOf(mapping)
  }

  /** Sets RLIMIT_MEMLOCK in bytes. What is locked stays locked. */
  setMemlock(limit: U64): void {
    const bytes = u64(limit, 'limit')
    syscall('setrlimit', () => this.#mm.setLimit(bytes))
  }

  /**
   * Makes a child: the same open files under the same numbers, the same memory objects at the same addresses, an account of its own.
   * @throws {VfioError} ENOMEM
   */
  fork(): HostProcess {
    this.#alive('fork')
    const child = new HostProcess(this.#machine, this.#options, this.#owner.descriptors.fork())
    try {
      this.#memory.copyInto(child)
    } catch (error) {
      child.exit()
      throw error
    }
    return child
  }

  /** Ends the process (idempotent): closes its descriptors, then drops its memory. Pages that the IOMMU holds stay held. */
  exit(): void {
    if (this.#exited) return
    this.#exited = true
    this.#memory.closeFiles()
    this.#owner.descriptors.closeAll()
    this.#memory.close()
    this.#machine.exited(this)
  }

  /** Ends the process. */
  [Symbol.dispose](): void {
    this.exit()
  }

  #install(file: OpenFile, access = { read: true, write: true }): FileHandle {
    try {
      return this.file(this.#owner.descriptors.install(new OpenDescription(file, access)))
    } catch (error) {
      file.release?.()
      throw error
    }
  }

  #makeCaller(descriptors: Descriptors): Caller {
    return {
      mm: this.#mm,
      capable: (capability) => this.capable(capability),
      place: (memory) => this.place(memory),
      file: (fd) => descriptors.get(fd)?.file,
      hold: (fd) => descriptors.hold(fd),
      install: (file) => descriptors.install(new OpenDescription(file, { read: true, write: true })),
      remove: (fd) => descriptors.close(fd),
    }
  }

  /** Refuses what the owner and mode of a node forbid. @throws {VfioError} ENOENT, EACCES */
  #mayOpen(path: string): void {
    this.#machine.dev.lookup(path, this, { read: true, write: true })
  }

  #alive(operation: string): void {
    if (this.#exited) throw new VfioError('EBADF', operation, { reason: 'the process has ended' })
  }
}

function capabilitiesOf(options: ProcessOptions): Set<string> {
  const { caps = (options.uid ?? 0) === 0 ? allCapabilities : [], dropCapabilities = [] } = options
  const left = new Set<string>(list(caps, 'caps').map((name) => text(name, 'caps')))
  for (const name of list(dropCapabilities, 'dropCapabilities')) left.delete(text(name, 'dropCapabilities'))
  return left
}
