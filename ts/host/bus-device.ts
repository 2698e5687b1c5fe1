/** A device that a bus driver of this package's user brings to VFIO (`struct vfio_device`). */
import type { DmaAccess } from '../device/ops.ts'
import type { VfioDevice } from '../device/vfio-device.ts'
import type { VfioGroup } from '../group/vfio-group.ts'

/** Where a device is on the machine, such as a PCI function (`struct device`). */
export interface ParentDevice {
  /** Name of the device. */
  readonly name: string
  /** Directory in sysfs. */
  readonly path: string
  /** IOMMU group that it is in; undefined: there is no IOMMU. */
  readonly group: object | undefined
}

/** A device between its allocation and `put`. Made by `host.vfio`. */
export class BusDevice<D = undefined> {
  /** Name, by which users ask for it. */
  readonly name: string
  /** Whatever its driver wants to find again, what the kernel's drivers embed the device in. */
  readonly data: D
  /** What it is on the machine. */
  readonly parent: ParentDevice | undefined
  #vfio: VfioDevice | undefined
  #group: VfioGroup | undefined

  /**
   * Made by `host.vfio` only.
   * @internal
   */
  constructor(name: string, data: D, parent: ParentDevice | undefined) {
    this.name = name
    this.data = data
    this.parent = parent
  }

  /**
   * The device as the core knows it; `serve()` takes it.
   * @internal
   */
  get vfio(): VfioDevice | undefined {
    return this.#vfio
  }

  /** N of `vfioN`, while it is registered. */
  get index(): number | undefined {
    return this.#vfio?.index
  }

  /** Whether it can be opened. */
  get registered(): boolean {
    return this.#vfio?.registered ?? false
  }

  /** How many users have it open. */
  get openCount(): number {
    return this.#vfio?.openCount ?? 0
  }

  /** Number of its group, while it is registered. */
  get group(): number | undefined {
    return this.index === undefined ? undefined : this.#group?.number
  }

  /** What it sees of memory while it is open, from `openDevice` to `closeDevice`. */
  get dma(): DmaAccess | undefined {
    return this.#vfio?.dma
  }

  /** The virtual machine that uses it while it is open, if KVM was told before it was opened (`vdev->kvm`). */
  get machine(): object | undefined {
    return this.#vfio?.machine
  }

  /** @internal */
  made(vfio: VfioDevice): void {
    this.#vfio = vfio
  }

  /** @internal */
  joined(group: VfioGroup): void {
    this.#group = group
  }
}
