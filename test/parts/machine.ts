/** Parts of a machine without hardware: groups, a registry, processes, an IOMMU driver that only keeps a diary. */
import type { AttachableGroup, IommuBackend, IommuDriver } from '../../ts/container/iommu-driver.ts'
import { IommuDriverRegistry } from '../../ts/container/driver-registry.ts'
import { NoiommuDriver } from '../../ts/container/noiommu-driver.ts'
import { VfioContainer } from '../../ts/container/vfio-container.ts'
import type { Task } from '../../ts/device/task.ts'
import { VfioDevice } from '../../ts/device/vfio-device.ts'
import type { VfioDeviceOps } from '../../ts/device/ops.ts'
import { VfioError } from '../../ts/errors.ts'
import { IommuGroupRegistry, type GroupMember, type IommuGroup } from '../../ts/group/iommu-group.ts'
import { VfioRegistry } from '../../ts/group/vfio-registry.ts'
import type { HeldFile, OpenFile, Caller } from '../../ts/files/open-file.ts'
import type { NativeAddressSpace } from '../../ts/native/addon.ts'
import { addon } from '../../ts/native/load.ts'
import { SysfsTree } from '../../ts/sysfs/tree.ts'
import type { HostMemory } from '../../ts/memory/host-memory.ts'

/** A process with descriptors; `without` names capabilities that it lacks. */
export class TestProcess implements Caller {
  readonly mm: NativeAddressSpace
  readonly files = new Map<number, OpenFile>()
  readonly #without: Set<string>
  readonly #placed = new Map<HostMemory, bigint>()

  constructor(without: readonly string[] = []) {
    this.mm = new (addon().NativeAddressSpace)({
      memlock: 0xffff_ffff_ffff_ffffn,
      capIpcLock: !without.includes('CAP_IPC_LOCK'),
    })
    this.#without = new Set(without)
  }

  capable(capability: string): boolean {
    return !this.#without.has(capability)
  }

  place(memory: HostMemory): bigint {
    const known = this.#placed.get(memory)
    if (known !== undefined) return known
    const address = this.mm.map({
      memory: memory.native,
      offset: 0n,
      length: BigInt(memory.byteLength),
      read: true,
      write: true,
    })
    this.#placed.set(memory, address)
    return address
  }

  file(fd: number): OpenFile | undefined {
    return this.files.get(fd)
  }

  hold(fd: number): HeldFile | undefined {
    const file = this.files.get(fd)
    return file && { file, release: () => {} }
  }

  install(file: OpenFile): number {
    let fd = 3
    while (this.files.has(fd)) fd++
    this.files.set(fd, file)
    return fd
  }

  remove(fd: number): void {
    this.files.get(fd)?.release?.()
    this.files.delete(fd)
  }
}

/** A driver that affirms `models` and writes down what it is asked to do. */
export class DiaryDriver implements IommuDriver {
  readonly name = 'diary'
  readonly diary: string[] = []
  /** Names of groups whose attachment fails with EINVAL. */
  readonly refused = new Set<string>()
  readonly #models: readonly number[]

  constructor(models: readonly number[] = [1, 3]) {
    this.#models = models
  }

  checkExtension(extension: number): number {
    return this.#models.includes(extension) || extension === 9 ? 1 : 0
  }

  open(model: number, _task: Task): IommuBackend {
    if (!this.#models.includes(model)) throw new VfioError('EINVAL', 'VFIO_SET_IOMMU')
    this.diary.push(`open ${model}`)
    return {
      model,
      checkExtension: (extension) => (extension === 4 ? 1 : this.checkExtension(extension)),
      attachGroup: (group: AttachableGroup) => {
        if (this.refused.has(group.name)) throw new VfioError('EINVAL', 'attach_group')
        this.diary.push(`attach ${group.name}`)
      },
      detachGroup: (group: AttachableGroup) => this.diary.push(`detach ${group.name}`),
      openDevice: (_group, device) => {
        this.diary.push(`open ${device.name}`)
        return undefined
      },
      closeDevice: (_group, device) => this.diary.push(`close ${device.name}`),
      ioctl: (request) => {
        if (request === 0x3b70) return 7
        throw new VfioError('ENOTTY', 'ioctl')
      },
      release: () => this.diary.push('release'),
    }
  }
}

/** Groups, registry, drivers and one process. */
export class TestMachine {
  readonly sysfs = new SysfsTree()
  readonly iommuGroups = new IommuGroupRegistry(this.sysfs)
  readonly driver: DiaryDriver
  readonly drivers = new IommuDriverRegistry()
  noiommu = false
  readonly registry = new VfioRegistry({ iommuGroups: this.iommuGroups, noiommu: () => this.noiommu })
  readonly process = new TestProcess()

  constructor(driver = new DiaryDriver()) {
    this.driver = driver
    this.drivers.register(new NoiommuDriver({ enabled: () => this.noiommu }))
    this.drivers.register(driver)
  }

  container(): VfioContainer {
    return new VfioContainer(this.drivers)
  }

  /** Makes an IOMMU group with members; a string is a device of vfio-pci. */
  group(...members: (string | GroupMember)[]): IommuGroup {
    const group = this.iommuGroups.create()
    for (const member of members) group.add(typeof member === 'string' ? this.member(member, 'vfio-pci') : member)
    return group
  }

  member(name: string, driver: string | undefined, driverManagedDma = driver === 'vfio-pci'): GroupMember {
    const path = `/sys/devices/pci0000:00/${name}`
    this.sysfs.dir(path)
    return { name, path, driver, driverManagedDma }
  }

  /** Registers a device of a group. */
  device(name: string, group: IommuGroup, ops: Partial<VfioDeviceOps> = {}): VfioDevice {
    const device = new VfioDevice(name, deviceOps(ops))
    this.registry.registerGroupDev(device, group)
    return device
  }

  /** A registered device alone in a group, and its VFIO group. */
  plain(name = '0000:00:04.0', ops: Partial<VfioDeviceOps> = {}) {
    const iommuGroup = this.group(name)
    const device = this.device(name, iommuGroup, ops)
    const group = this.registry.group(iommuGroup.number)
    if (group === undefined) throw new Error('no group')
    return { device, group, iommuGroup }
  }
}

/** A driver with one region of 16 bytes and one interrupt, unless told otherwise. */
export function deviceOps(ops: Partial<VfioDeviceOps> = {}): VfioDeviceOps {
  const memory = new Uint8Array(16)
  return {
    name: 'test',
    getInfo: () => ({ flags: 0, numRegions: 1, numIrqs: 1 }),
    getRegionInfo: (index) => {
      if (index > 0) throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_REGION_INFO')
      return { flags: 3, size: 16n, offset: 0n }
    },
    getIrqInfo: (index) => {
      if (index > 0) throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_IRQ_INFO')
      return { flags: 1, count: 1 }
    },
    setIrqs: () => {},
    read: (region, offset, into) => {
      if (region > 0) throw new VfioError('EINVAL', 'read')
      const part = memory.subarray(Number(offset), Number(offset) + into.byteLength)
      into.set(part)
      return part.byteLength
    },
    write: (region, offset, from) => {
      if (region > 0) throw new VfioError('EINVAL', 'write')
      const part = from.subarray(0, Math.max(0, 16 - Number(offset)))
      if (part.byteLength > 0) memory.set(part, Number(offset))
      return part.byteLength
    },
    ...ops,
  }
}

/** The errno that `run` is refused with, or `ok`. */
export function errnoOf(run: () => unknown): string {
  try {
    run()
    return 'ok'
  } catch (error) {
    if (error instanceof VfioError) return error.code
    throw error
  }
}
