/**
 * A simulated machine: PCI topology, drivers, an IOMMU, VFIO, processes, and the `sysfs` and `dev` trees over it all.
 *
 * The parts know nothing of each other beyond what they are given here; there is no state outside of the object.
 */
import type { Container } from '../container/container.ts'
import { IommuDriverRegistry } from '../container/driver-registry.ts'
import { NoiommuDriver } from '../container/noiommu-driver.ts'
import { VfioContainer } from '../container/vfio-container.ts'
import { invalidArgType, outOfRange, VfioError } from '../errors.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import { ContainerFile } from '../files/container-file.ts'
import type { Group } from '../group/group.ts'
import { IommuGroupRegistry, type ReservedRegion } from '../group/iommu-group.ts'
import type { VfioGroup } from '../group/vfio-group.ts'
import { VfioRegistry } from '../group/vfio-registry.ts'
import { IommufdContext } from '../iommufd/context.ts'
import type { MachineIommu } from '../iommufd/hardware.ts'
import { Iommufd } from '../iommufd/iommufd.ts'
import { KvmFile } from '../kvm/kvm-files.ts'
import type { VirtualMachineOptions } from '../kvm/virtual-machine.ts'
import { MdevBus } from '../mdev/bus.ts'
import type { NativeAddressSpace } from '../native/addon.ts'
import { addon } from '../native/load.ts'
import { syscall } from '../native/syscall.ts'
import { HostPci } from '../pci/host-pci.ts'
import { vfioPciDriver } from '../pci/vfio-pci.ts'
import { flag, list, oneOf, record, text, u32, u64, type U64 } from '../shape.ts'
import { SysfsTree } from '../sysfs/tree.ts'
import { Endpoint } from '../spapr/endpoint.ts'
import { GuestTceTable } from '../spapr/guest-tce-table.ts'
import { SpaprDriver } from '../spapr/spapr-driver.ts'
import { type SpaprOptions, spaprPlatform } from '../spapr/settings.ts'
import { DMA_ENTRY_LIMIT, Type1Driver } from '../type1/type1-driver.ts'
import { openCdev } from './cdev-file.ts'
import { DevTree } from './dev-tree.ts'
import { GroupView } from './group-view.ts'
import { guestTableAttacher } from './guest-tables.ts'
import { type HostMount, mountTrees, type MountOptions } from './host-mount.ts'
import { machineOf, type MachineKind, ppc64Request } from './machine-kind.ts'
import { type ModuleParameters, showModuleParameters } from './module-parameters.ts'
import { PlainDevice, type PlainDeviceOptions } from './plain-device.ts'
import { HostProcess, type ProcessOptions } from './process.ts'
import { IommufdFile } from './iommufd-file.ts'
import type { MachineProcess, ProcessMachine } from './process-machine.ts'
import { VfioCore } from './vfio-core.ts'
import { showVfioNodes } from './vfio-nodes.ts'

/** The simulated IOMMU. */
export interface IommuOptions {
  /** Bitmap of page sizes; default 4 KiB, 2 MiB and 1 GiB (0x40201000). */
  pgsizes?: U64
  /** Width of a DMA address in bits, 12 to 64; default 48. */
  addressWidth?: number
  /** Ranges that are not translated; default the window of message interrupts, 0xfee00000 to 0xfeefffff. */
  reserved?: readonly ReservedRegion[]
  /** Whether it can enforce cache coherency (`VFIO_DMA_CC_IOMMU`); default false. */
  cacheCoherency?: boolean
  /**
   * What it presents itself as towards an iommufd: `'intel-vtd'`, in legacy mode, which nests nothing and tracks nothing; or
   * `'software'`, the IOMMU that it is. Default `'intel-vtd'`.
   */
  kind?: 'intel-vtd' | 'software'
  /** The software IOMMU tracks the pages that devices write; default true. */
  dirtyTracking?: boolean
  /** Bits of a PASID of the software IOMMU, 0 to 20; default 20. */
  pasidWidth?: number
}

/** What a machine is made of. */
export interface SoftwareHostOptions {
  /**
   * Kind of machine: `'x86'` with a type1 IOMMU; `'powernv'` or `'pseries'`, POWER machines with an sPAPR IOMMU, whose programs
   * use the ppc64 encoding of requests. Default `'x86'`.
   */
  platform?: MachineKind
  /** Size of the system's pages in bytes; default 4096, on POWER 65536. */
  pageSize?: number
  /** What the sPAPR IOMMU of a POWER machine offers. */
  spapr?: SpaprOptions
  /** `/dev/iommu` answers the kernel's requests for tests (`IOMMU_TEST_CMD`): mock devices and accesses; default false. */
  iommufdTests?: boolean
  /** Number of the first IOMMU group; default 0. */
  firstGroup?: number
  /** The IOMMU; `false`: there is none, devices can be used without isolation only. */
  iommu?: IommuOptions | false
  /** Most mappings of a container; default 65535. */
  dmaEntryLimit?: number
  /** Devices without an IOMMU can be used without isolation (`enable_unsafe_noiommu_mode`); default false. */
  noiommu?: boolean
  /** `allow_unsafe_interrupts`; default false. */
  allowUnsafeInterrupts?: boolean
  /** `disable_hugepages`; default false. */
  disableHugepages?: boolean
}

const MSI_WINDOW: ReservedRegion = { start: 0xfee0_0000n, last: 0xfeef_ffffn, kind: 'msi' }
const PGSIZES = 0x4020_1000n
const RESERVED_KINDS = ['direct', 'direct-relaxable', 'reserved', 'msi', 'sw-msi'] as const

/** One simulated machine. `close()` switches it off. */
export class SoftwareHost {
  /** `/sys`. */
  readonly sysfs = new SysfsTree()
  /** `/dev`. */
  readonly dev = new DevTree()
  /** PCI functions, bridges and drivers. */
  readonly pci: HostPci
  /** Mediated devices. */
  readonly mdev: MdevBus
  /** VFIO's core, for bus drivers. */
  readonly vfio: VfioCore
  /** Settings of the simulated kernel's modules. */
  readonly parameters: ModuleParameters
  readonly #groups: IommuGroupRegistry
  readonly #registry: VfioRegistry
  readonly #drivers = new IommuDriverRegistry()
  readonly #processes = new Set<MachineProcess>()
  /** The first address space of each user, whose account the others share. */
  readonly #users = new Map<number, NativeAddressSpace>()
  readonly #machine: ProcessMachine
  readonly #mounts = new Set<HostMount>()
  /** What the IOMMU does not translate; undefined: there is no IOMMU. */
  readonly #reserved: readonly ReservedRegion[] | undefined
  readonly #iommufds = new Set<IommufdContext>()
  readonly #iommufd: { iommu: MachineIommu; tests: boolean } | undefined
  readonly #spapr: SpaprDriver | undefined
  #default: HostProcess | undefined
  #closed = false

  /** @throws {TypeError} a value of the wrong shape */
  constructor(options: SoftwareHostOptions = {}) {
    record(options, 'options')
    this.parameters = {
      enableUnsafeNoiommuMode: flag(options.noiommu, 'noiommu', false),
      dmaEntryLimit: u32(options.dmaEntryLimit ?? DMA_ENTRY_LIMIT, 'dmaEntryLimit'),
      allowUnsafeInterrupts: flag(options.allowUnsafeInterrupts, 'allowUnsafeInterrupts', false),
      disableHugepages: flag(options.disableHugepages, 'disableHugepages', false),
    }
    const { kind, pageSize } = machineOf(options)
    const tests = flag(options.iommufdTests, 'iommufdTests', false)
    const iommu = options.iommu === false ? undefined : geometryOf(record(options.iommu ?? {}, 'iommu'))
    this.#reserved = iommu?.reserved
    this.#groups = new IommuGroupRegistry(this.sysfs, u32(options.firstGroup ?? 0, 'firstGroup'))
    this.#registry = new VfioRegistry({
      iommuGroups: this.#groups,
      noiommu: () => this.parameters.enableUnsafeNoiommuMode,
    })
    this.#drivers.register(new NoiommuDriver({ enabled: () => this.parameters.enableUnsafeNoiommuMode }))
    if (kind === 'x86') {
      const geometry = () => iommu?.geometry ?? geometryOf({}).geometry
      this.#drivers.register(new Type1Driver({ geometry, entryLimit: () => this.parameters.dmaEntryLimit }))
    } else {
      const platform = spaprPlatform(kind, pageSize, record(options.spapr ?? {}, 'spapr'))
      this.#spapr = new SpaprDriver({ platform, resetGroup: (number) => this.#resetGroup(number) })
      this.#drivers.register(this.#spapr)
    }
    this.#iommufd = kind === 'x86' ? { iommu: iommu?.geometry ?? geometryOf({}).geometry, tests } : undefined
    this.#machine = this.#makeMachine(kind, pageSize)
    this.#showNodes()
    this.pci = new HostPci({
      sysfs: this.sysfs,
      groups: this.#groups,
      iommu: iommu ? { reserved: iommu.reserved } : false,
    })
    this.vfio = new VfioCore(this.#registry)
    this.pci.addDriver(vfioPciDriver(this.#registry))
    this.mdev = new MdevBus({ sysfs: this.sysfs, registry: this.#registry })
  }

  /** Whether it was closed. */
  get closed(): boolean {
    return this.#closed
  }

  /** The process in which the typed API works: root, all capabilities. */
  get defaultProcess(): HostProcess {
    this.#default ??= this.process()
    return this.#default
  }

  /** Numbers of the IOMMU groups. */
  get groups(): readonly number[] {
    return this.#groups.list().map((group) => group.number)
  }

  /**
   * The machine as its processes see it.
   * @internal
   */
  get machine(): ProcessMachine {
    return this.#machine
  }

  /** Starts a process. @throws {TypeError} a value of the wrong shape @throws {VfioError} EBADF the machine is closed */
  process(options: ProcessOptions = {}): HostProcess {
    if (this.#closed) throw new VfioError('EBADF', 'process', { reason: 'the machine is closed' })
    return new HostProcess(this.#machine, options)
  }

  /**
   * Adds a device of one's own, behind the machine's IOMMU: a parent for what a bus driver registers.
   * @throws {VfioError} EINVAL no file name, EEXIST there is one of that name
   */
  addDevice(name: string, options: PlainDeviceOptions = {}): PlainDevice {
    return new PlainDevice({ sysfs: this.sysfs, groups: this.#groups, reserved: this.#reserved }, name, options)
  }

  /**
   * Makes a container with nothing in it.
   * @internal
   */
  makeContainer(): VfioContainer {
    return new VfioContainer(this.#drivers)
  }

  /** Opens a container in the default process. @throws {VfioError} EBADF the machine is closed */
  openContainer(): Container {
    return this.defaultProcess.openContainer()
  }

  /**
   * Opens a group in the default process.
   * @throws {VfioError} ENOENT no device of it is bound to a VFIO driver, EBUSY it is open
   */
  openGroup(number: number): Group {
    return this.defaultProcess.openGroup(number)
  }

  /** Opens an iommufd in the default process. @throws {VfioError} EBADF the machine is closed, ENODEV it has none */
  iommufd(): Iommufd {
    return this.defaultProcess.openIommufd()
  }

  /** A group by number, without opening it. @throws {VfioError} ENOENT there is no such group */
  group(number: number): GroupView {
    const group = this.#groups.get(u32(number, 'number'))
    if (group) return new GroupView(group, this.#registry)
    throw new VfioError('ENOENT', 'group', { reason: `there is no IOMMU group ${number}`, remedy: this.#groupsHint() })
  }

  /**
   * Lets a group's window follow a guest's TCE table (`process.openGuestTable`), as `KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE` does.
   * @throws {VfioError} ENXIO the machine has no such tables, EINVAL no window of the group fits
   */
  attachGuestTable(group: number, table: GuestTceTable): void {
    if (!(table instanceof GuestTceTable)) throw invalidArgType('table', 'a GuestTceTable', table)
    table.attach(this.#requireSpapr('KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE').group(u32(group, 'group')))
  }

  /**
   * The endpoint of a group, to make errors as hardware does.
   * @throws {VfioError} ENXIO this is no POWER machine, ENOENT there is no such group
   */
  endpoint(group: number): Endpoint {
    const spapr = this.#requireSpapr('endpoint')
    return new Endpoint(spapr.group(this.group(group).number))
  }

  /** The group that a device is in, by the device's name. @throws {VfioError} ENODEV it is in none */
  groupOf(device: string): GroupView {
    const group = this.#groups.of(text(device, 'device'))
    if (group) return new GroupView(group, this.#registry)
    throw new VfioError('ENODEV', 'groupOf', { reason: `${device} is in no IOMMU group` })
  }

  /**
   * Shows the machine's trees as files: `sys` and `dev` below `directory`, or one of them there, for programs that were written
   * for the kernel's. The thread of the machine answers: where it looks itself (`readFileSync`) it is refused with EBUSY, and it
   * must not wait for who looks (`execFileSync`). Other processes may look, and so may `fs.promises`.
   * @throws {TypeError} a value of the wrong shape
   * @throws {VfioError} EBADF the machine is closed, EOPNOTSUPP this system has no FUSE, ENOENT no such directory, ENOTDIR, EACCES,
   *   EPERM no right to mount, ENODEV
   */
  async mount(directory: string, options: MountOptions = {}): Promise<HostMount> {
    if (this.#closed) throw new VfioError('EBADF', 'mount', { reason: 'the machine is closed' })
    const mount = await mountTrees(this, directory, options)
    this.#mounts.add(mount)
    void mount.closed.then(() => this.#mounts.delete(mount))
    if (this.closed) void mount.close()
    return mount
  }

  /**
   * Switches the machine off (idempotent): takes its mounts away, ends its processes, takes mediated devices and functions
   * away. Whoever has typed
   * handles open closes them himself.
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const mount of this.#mounts) void mount.close()
    for (const process of [...this.#processes]) process.exit()
    this.mdev.close()
    this.pci.close()
  }

  /** Switches the machine off. */
  [Symbol.dispose](): void {
    this.close()
  }

  #requireSpapr(operation: string): SpaprDriver {
    if (this.#spapr !== undefined) return this.#spapr
    throw new VfioError('ENXIO', operation, { reason: 'this is no POWER machine', remedy: `say platform: 'powernv'` })
  }

  /** What virtual machines of this machine can do. */
  #guests(): VirtualMachineOptions {
    const spapr = this.#spapr
    return spapr === undefined ? {} : { setSpaprTce: guestTableAttacher((number) => spapr.group(number)) }
  }

  /** Resets the functions of a group as the host does: their registers are saved and restored. */
  #resetGroup(number: number): void {
    const functions = this.pci.devices
      .filter((device) => device.group?.number === number)
      .flatMap(({ hardware }) => (hardware.made ? [hardware.made] : []))
    syscall('reset', () => addon().NativePciFunction.resetBus(functions))
  }

  #makeMachine(kind: MachineKind, pageSize: number): ProcessMachine {
    return {
      dev: this.dev,
      pageSize,
      request: kind === 'x86' ? (request) => request : ppc64Request,
      makeContainer: () => this.makeContainer(),
      makeIommufd: (task) => {
        const { iommu, tests } = this.#requireIommufd()
        return new Iommufd(new IommufdContext({ tests, open: this.#iommufds }), task, {
          iommu,
          device: (name) => this.#vfioDevice(name),
        })
      },
      guests: () => this.#guests(),
      vfioGroup: (number) => this.#vfioGroup(number),
      started: (process) => this.#started(process),
      exited: (process) => void this.#processes.delete(process),
    }
  }

  #showNodes(): void {
    const iommufd = this.#iommufd
    this.dev.add('/dev/vfio/vfio', { mode: 0o666, open: () => new ContainerFile(this.makeContainer()) })
    this.dev.add('/dev/kvm', { mode: 0o666, open: () => new KvmFile(this.#guests()) })
    this.dev.add('/dev/iommu', {
      mode: 0o660,
      open: () => {
        const { iommu, tests } = this.#requireIommufd()
        return new IommufdFile(new IommufdContext({ tests, open: this.#iommufds }), iommu)
      },
    })
    const iommu = iommufd?.iommu ?? geometryOf({}).geometry
    showVfioNodes(this.#registry, this.dev, this.sysfs, (caller, device, group) =>
      openCdev(caller, device, group, iommu),
    )
    showModuleParameters(this.sysfs, this.parameters)
  }

  #requireIommufd(): { iommu: MachineIommu; tests: boolean } {
    if (this.#iommufd !== undefined) return this.#iommufd
    throw new VfioError('ENODEV', 'open', { path: '/dev/iommu', reason: 'this machine has no iommufd' })
  }

  #vfioDevice(name: string): { device: VfioDevice; group: VfioGroup } {
    const { devices } = this.#registry
    const device = devices.find((known) => known.name === name || `vfio${known.index}` === name)
    const group = device && this.#registry.groupOf(device)
    if (device && group) return { device, group }
    const names = devices.map((known) => known.name).join(', ')
    throw new VfioError('ENOENT', 'open', {
      reason: `no VFIO driver has a device ${name}`,
      remedy: names === '' ? 'bind one' : `there are ${names}`,
    })
  }

  /** Processes of one user share what they may pin. */
  #started(process: MachineProcess): void {
    this.#processes.add(process)
    const first = this.#users.get(process.uid)
    if (first === undefined) this.#users.set(process.uid, process.mm)
    else syscall('fork', () => process.mm.joinUser(first))
  }

  #vfioGroup(number: number): VfioGroup {
    const group = this.#registry.group(number)
    if (group) return group
    const known = this.#groups.get(number)
    throw new VfioError('ENOENT', 'open', {
      path: `/dev/vfio/${number}`,
      reason: known ? `no device of group ${number} is bound to a VFIO driver` : `there is no IOMMU group ${number}`,
      remedy: known ? `bind one of ${known.members.map((member) => member.name).join(', ')}` : this.#groupsHint(),
    })
  }

  #groupsHint(): string {
    return this.groups.length === 0 ? 'the machine has no groups' : `there are ${this.groups.join(', ')}`
  }
}

function geometryOf(options: IommuOptions) {
  const width = u32(options.addressWidth ?? 48, 'addressWidth')
  if (width < 12 || width > 64) throw outOfRange('addressWidth', '>= 12 and <= 64', width)
  const pgsizes = u64(options.pgsizes ?? PGSIZES, 'pgsizes')
  if (pgsizes === 0n) throw outOfRange('pgsizes', 'not zero', pgsizes)
  const cacheCoherency = flag(options.cacheCoherency, 'cacheCoherency', false)
  const kind = oneOf(options.kind ?? 'intel-vtd', ['intel-vtd', 'software'], 'kind')
  const dirtyTracking = flag(options.dirtyTracking, 'dirtyTracking', true)
  const pasidWidth = u32(options.pasidWidth ?? 20, 'pasidWidth')
  if (pasidWidth > 20) throw outOfRange('pasidWidth', '<= 20', pasidWidth)
  const software = kind === 'software' ? { software: { dirtyTracking, pasidWidth } } : {}
  const reserved = list(options.reserved ?? [MSI_WINDOW], 'reserved').map((region) => {
    const { start, last, kind } = record(region, 'reserved[]')
    return {
      start: u64(start, 'reserved[].start'),
      last: u64(last, 'reserved[].last'),
      kind: oneOf(kind, RESERVED_KINDS, 'reserved[].kind'),
    }
  })
  return {
    geometry: { pgsizes, apertureStart: 0n, apertureLast: (1n << BigInt(width)) - 1n, cacheCoherency, ...software },
    reserved,
  }
}
