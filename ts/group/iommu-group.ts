/**
 * IOMMU groups: sets of devices that can be isolated from all others, and who owns their DMA.
 *
 * The bus code (`pci/`, `mdev/`) decides which devices share a group; {@link IommuGroup} keeps the members, shows them
 * under `/sys/kernel/iommu_groups`, and counts the users of the group's DMA: host drivers, each one, or one owner from
 * user space. A group is there as long as it has members.
 */
import { VfioError } from '../errors.ts'
import { baseName } from '../sysfs/path.ts'
import type { SysfsTree } from '../sysfs/tree.ts'
import { LowestFreeNumbers } from './numbers.ts'

/** Where groups are shown. */
const GROUPS = '/sys/kernel/iommu_groups'

/** A range of DMA addresses that the IOMMU does not translate. */
export interface ReservedRegion {
  start: bigint
  /** Last address, inclusive. */
  last: bigint
  kind: 'direct' | 'direct-relaxable' | 'reserved' | 'msi' | 'sw-msi'
}

/** A device as its group knows it. */
export interface GroupMember {
  /** Name of the device, such as `'0000:06:0d.0'`. */
  readonly name: string
  /** Directory of the device, such as `'/sys/devices/pci0000:00/0000:00:04.0'`. */
  readonly path: string
  /** Driver that the device is bound to. */
  readonly driver: string | undefined
  /** Tells whether that driver leaves the device's DMA to others, as `vfio-pci`, `pci-stub` and `pcieport` do. */
  readonly driverManagedDma: boolean
}

/** What a group is made of. */
export interface IommuGroupOptions {
  /** `iommu`: behind the host's IOMMU; `emulated`: mediated devices; `noiommu`: no isolation at all. */
  kind?: 'iommu' | 'emulated' | 'noiommu'
  /** Kind of the default domain: `DMA` behind an IOMMU, otherwise `unknown`. */
  type?: string
  reserved?: readonly ReservedRegion[]
}

/** A set of devices that the IOMMU can tell from all others. */
export class IommuGroup {
  /** Number of the group, as in `/sys/kernel/iommu_groups/<number>`. */
  readonly number: number
  readonly kind: 'iommu' | 'emulated' | 'noiommu'
  readonly reserved: readonly ReservedRegion[]
  readonly #registry: IommuGroupRegistry
  readonly #members = new Map<string, GroupMember>()
  #type: string
  #users = 0
  #owner: object | undefined

  /** Made by {@link IommuGroupRegistry.create} only. */
  constructor(registry: IommuGroupRegistry, number: number, options: IommuGroupOptions) {
    this.#registry = registry
    this.number = number
    this.kind = options.kind ?? 'iommu'
    this.#type = options.type ?? (this.kind === 'iommu' ? 'DMA' : 'unknown')
    this.reserved = [...(options.reserved ?? [])]
  }

  /** Directory of the group in sysfs. */
  get path(): string {
    return `${GROUPS}/${this.number}`
  }

  /** Kind of the default domain, such as `'DMA'`. */
  get type(): string {
    return this.#type
  }

  /** The devices, in the order in which they came. */
  get members(): readonly GroupMember[] {
    return [...this.#members.values()]
  }

  /** Takes a device in, linking both ways. @throws {VfioError} EEXIST a device of that name is in it */
  add(member: GroupMember): void {
    if (this.#members.has(member.name)) throw new VfioError('EEXIST', 'iommu_group_add_device', { reason: member.name })
    this.#members.set(member.name, member)
    this.#registry.sysfs.link(`${this.path}/devices/${member.name}`, member.path)
    this.#registry.sysfs.link(`${member.path}/iommu_group`, this.path)
  }

  /** Lets a device go; the last one takes the group with it. */
  remove(name: string): void {
    const member = this.#members.get(name)
    if (!member) return
    this.#members.delete(name)
    this.#registry.sysfs.remove(`${this.path}/devices/${name}`)
    this.#registry.sysfs.remove(`${member.path}/iommu_group`)
    if (this.#members.size === 0) this.#registry.drop(this)
  }

  /** Tells whether anybody uses the group's DMA: a host driver, or an owner. */
  get dmaOwnerClaimed(): boolean {
    return this.#users > 0
  }

  /** The one who claimed the group's DMA, if it was claimed. */
  get dmaOwner(): object | undefined {
    return this.#owner
  }

  /**
   * A driver that does DMA of its own starts on a member.
   * @throws {VfioError} EBUSY the DMA belongs to an owner
   */
  useDefaultDomain(): void {
    if (this.#owner !== undefined) {
      throw new VfioError('EBUSY', 'iommu_device_use_default_domain', {
        reason: `the DMA of group ${this.number} belongs to user space`,
        remedy: 'close the group first',
      })
    }
    this.#users++
  }

  /** Such a driver has left. */
  unuseDefaultDomain(): void {
    if (this.#owner === undefined && this.#users > 0) this.#users--
  }

  /**
   * Claims the group's DMA for `owner`.
   * @throws {VfioError} EPERM it is in use
   */
  claimDmaOwner(owner: object): void {
    if (this.#users > 0) throw this.#inUse('VFIO_GROUP_SET_CONTAINER')
    this.#owner = owner
    this.#users = 1
  }

  /** Gives the DMA back; idempotent. */
  releaseDmaOwner(): void {
    if (this.#owner === undefined) return
    this.#owner = undefined
    this.#users = 0
  }

  /**
   * Claims the group's DMA for `owner` on behalf of one device; the same owner may come again.
   * @throws {VfioError} EPERM it is in use by another
   */
  claimDeviceDmaOwner(owner: object): void {
    if (this.#users > 0 && this.#owner !== owner) throw this.#inUse('VFIO_DEVICE_BIND_IOMMUFD')
    this.#owner = owner
    this.#users++
  }

  /** Gives one device's claim back. */
  releaseDeviceDmaOwner(): void {
    if (this.#owner === undefined) return
    if (--this.#users === 0) this.#owner = undefined
  }

  /** Text of the attribute `type`. */
  showType(): string {
    return `${this.#type}\n`
  }

  /**
   * Takes what was written to the attribute `type`.
   * @throws {VfioError} EINVAL no such type, EPERM a device of the group is in use
   */
  storeType(text: string): void {
    const wanted = text.replace(/\n$/, '')
    if (!['identity', 'DMA', 'DMA-FQ', 'auto'].includes(wanted) || this.kind !== 'iommu') {
      throw new VfioError('EINVAL', 'write', { path: `${this.path}/type` })
    }
    const lazily = wanted === 'DMA-FQ' && this.#type === 'DMA'
    if (!lazily && this.#users > 0) throw new VfioError('EPERM', 'write', { path: `${this.path}/type` })
    this.#type = wanted === 'auto' ? 'DMA' : wanted
  }

  /** Text of the attribute `reserved_regions`: one line each, in the order of the addresses. */
  showReservedRegions(): string {
    const hex = (address: bigint) => `0x${address.toString(16).padStart(16, '0')}`
    return [...this.reserved]
      .sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0))
      .map((region) => `${hex(region.start)} ${hex(region.last)} ${region.kind === 'sw-msi' ? 'msi' : region.kind}\n`)
      .join('')
  }

  #inUse(operation: string): VfioError {
    const busy = this.members.filter((member) => member.driver !== undefined && !member.driverManagedDma)
    const who = busy.map((member) => `${member.name} is bound to ${member.driver}`).join(', ')
    return new VfioError('EPERM', operation, {
      reason: this.#owner
        ? `the DMA of group ${this.number} has an owner`
        : `group ${this.number} is not viable: ${who}`,
      remedy: this.#owner
        ? 'let that owner close it'
        : `host.group(${this.number}).explain() has the commands to unbind`,
    })
  }
}

/** The groups of one machine and their numbers. */
export class IommuGroupRegistry {
  readonly sysfs: SysfsTree
  readonly #numbers: LowestFreeNumbers
  readonly #groups = new Map<number, IommuGroup>()

  /** Groups are numbered from `first` on, each with the lowest number that is free. */
  constructor(sysfs: SysfsTree, first = 0) {
    this.sysfs = sysfs
    this.#numbers = new LowestFreeNumbers(first)
    sysfs.dir(GROUPS)
  }

  /** Makes an empty group. */
  create(options: IommuGroupOptions = {}): IommuGroup {
    const group = new IommuGroup(this, this.#numbers.take(), options)
    this.#groups.set(group.number, group)
    this.sysfs.dir(`${group.path}/devices`)
    this.sysfs.attr(`${group.path}/reserved_regions`, { mode: 0o444, show: () => group.showReservedRegions() })
    this.sysfs.attr(`${group.path}/type`, {
      mode: 0o644,
      show: () => group.showType(),
      store: (text) => group.storeType(text),
    })
    return group
  }

  /** The group with that number. */
  get(number: number): IommuGroup | undefined {
    return this.#groups.get(number)
  }

  /** The group that a device of that name is in. */
  of(device: string): IommuGroup | undefined {
    const name = baseName(device)
    return this.list().find((group) => group.members.some((member) => member.name === name))
  }

  /** All groups, by number. */
  list(): IommuGroup[] {
    return [...this.#groups.values()].sort((a, b) => a.number - b.number)
  }

  /** Takes an empty group away and frees its number. */
  drop(group: IommuGroup): void {
    if (!this.#groups.delete(group.number)) return
    this.sysfs.remove(group.path)
    this.#numbers.give(group.number)
  }
}
