/** The sPAPR IOMMU behind one container: groups, devices, requests. */
import type { AttachableGroup, AttachedDevice, IommuBackend } from '../container/iommu-driver.ts'
import type { SpaprControl } from '../container/spapr-control.ts'
import { Dma } from '../device/dma.ts'
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace, NativeDma } from '../native/addon.ts'
import type { SpaprPlatform } from './platform.ts'
import { SpaprContainer } from './spapr-container.ts'
import { spaprIoctl } from './spapr-ioctl.ts'
import { SpaprMapper } from './spapr-mapper.ts'
import type { TableGroup } from './table-group.ts'

/** A device's view of memory, and whether its endpoint is frozen. */
class EndpointDma extends Dma {
  readonly #group: TableGroup

  constructor(native: NativeDma, group: TableGroup) {
    super(native)
    this.#group = group
  }

  registersStopped(): boolean {
    return this.#group.eeh?.registersStopped === true
  }
}

/** One instance of the sPAPR driver. */
export class SpaprIommu implements IommuBackend {
  readonly model: number
  readonly #container: SpaprContainer
  readonly #groupOf: (number: number) => TableGroup
  readonly #checkExtension: (extension: number) => number
  readonly #views = new Map<AttachedDevice, { view: EndpointDma; group: TableGroup }>()
  #mapper: SpaprMapper | undefined

  constructor(
    model: number,
    version2: boolean,
    platform: SpaprPlatform,
    machine: { group(number: number): TableGroup; checkExtension(extension: number): number },
  ) {
    this.model = model
    this.#container = new SpaprContainer(platform, version2)
    this.#groupOf = (number) => machine.group(number)
    this.#checkExtension = (extension) => machine.checkExtension(extension)
  }

  /** What the typed container maps with; it is there once a group is. */
  get mapper(): SpaprMapper {
    if (this.#mapper === undefined) throw new VfioError('EINVAL', 'ioctl', { reason: 'the container has no group' })
    return this.#mapper
  }

  get spapr(): SpaprControl {
    return this.#container
  }

  checkExtension(extension: number): number {
    return this.#checkExtension(extension)
  }

  attachGroup(group: AttachableGroup): void {
    const container = this.#container
    const operation = 'attach_group'
    if (group.kind !== 'iommu') {
      throw new VfioError('ENODEV', operation, { reason: `group ${group.name} is not behind the IOMMU` })
    }
    const { platform, groups, windows } = container
    if (container.version2 && platform.settings.windows === 0) {
      throw new VfioError('EINVAL', operation, { reason: 'the platform has no windows to create' })
    }
    if (!container.version2 && groups.length > 0) {
      throw new VfioError('EBUSY', operation, {
        reason: 'version 1 takes one group',
        remedy: 'open another container, or use version 2',
      })
    }
    const added = this.#groupOf(group.number)
    if (groups.includes(added)) throw new VfioError('EBUSY', operation, { reason: `${added.name} is attached` })
    added.take(groups[0]?.endpoint)
    try {
      windows.join(added)
    } catch (error) {
      added.release()
      throw error
    }
    if (groups.length === 0) windows.expectDefault()
    groups.unshift(added)
    this.#mapper ??= new SpaprMapper(container, added.endpoint.faults())
  }

  detachGroup(group: AttachableGroup): void {
    const { groups, windows } = this.#container
    const gone = this.#groupOf(group.number)
    const at = groups.indexOf(gone)
    if (at < 0) return
    windows.clear()
    windows.leave(gone)
    groups.splice(at, 1)
    gone.release()
  }

  openDevice(group: AttachableGroup, device: AttachedDevice): Dma {
    const owner = this.#groupOf(group.number)
    const view = new EndpointDma(owner.endpoint.openDevice(device.name), owner)
    this.#views.set(device, { view, group: owner })
    return view
  }

  closeDevice(_group: AttachableGroup, device: AttachedDevice): void {
    const opened = this.#views.get(device)
    if (opened === undefined) return
    this.#views.delete(device)
    opened.group.endpoint.closeDevice(opened.view.native)
  }

  ioctl(request: number, argument: IoctlArgument, mm: NativeAddressSpace): number {
    return spaprIoctl(this.#container, request, argument, mm)
  }

  release(): void {
    this.#container.release()
  }
}
