/** The type1 IOMMU of one container: groups, devices and ioctls; mappings are the native side's. */
import type { AttachableGroup, AttachedDevice, IommuBackend } from '../container/iommu-driver.ts'
import { Dma } from '../device/dma.ts'
import type { IoctlArgument } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import type { NativeAddressSpace, NativeGeometry, NativeType1 } from '../native/addon.ts'
import { syscall } from '../native/syscall.ts'
import { IOCTL } from '../uapi/ioctl.ts'
import { dirtyPages, getInfo, mapDma, unmapDma } from './type1-ioctl.ts'
import { Type1Mapper } from './type1-mapper.ts'

/** One instance of the type1 driver. */
export class Type1Iommu implements IommuBackend {
  readonly model: number
  readonly mapper: Type1Mapper
  readonly #native: NativeType1
  readonly #geometry: Omit<NativeGeometry, 'reserved'>
  readonly #views = new Map<AttachedDevice, Dma>()

  constructor(model: number, native: NativeType1, geometry: Omit<NativeGeometry, 'reserved'>) {
    this.model = model
    this.mapper = new Type1Mapper(model, native)
    this.#native = native
    this.#geometry = geometry
  }

  checkExtension(extension: number): number {
    return extension > 0xffff_ffff ? 0 : this.#native.checkExtension(extension)
  }

  attachGroup(group: AttachableGroup): void {
    const { number, kind, reserved } = group
    syscall('attach_group', () => {
      if (kind === 'emulated') this.#native.attachEmulated(number)
      else this.#native.attachHw(number, { ...this.#geometry, reserved })
    })
  }

  detachGroup(group: AttachableGroup): void {
    syscall('detach_group', () => this.#native.detach(group.number))
  }

  openDevice(group: AttachableGroup, device: AttachedDevice): Dma {
    const { ops } = device
    const onUnmap =
      ops.dmaUnmap === undefined ? undefined : (iova: bigint, length: bigint) => ops.dmaUnmap?.(iova, length)
    const kind = group.kind === 'emulated' ? 'emulated' : 'iommu'
    const view = new Dma(
      syscall('open_device', () => this.#native.openDevice(group.number, device.name, kind, onUnmap)),
    )
    this.#views.set(device, view)
    return view
  }

  closeDevice(_group: AttachableGroup, device: AttachedDevice): void {
    const view = this.#views.get(device)
    if (view === undefined) return
    this.#views.delete(device)
    this.#native.closeDevice(view.native)
  }

  ioctl(request: number, argument: IoctlArgument, mm: NativeAddressSpace): number {
    switch (request) {
      case IOCTL.VFIO_IOMMU_GET_INFO:
        return getInfo(this.mapper, argument)
      case IOCTL.VFIO_IOMMU_MAP_DMA:
        return mapDma(this.mapper, argument, mm)
      case IOCTL.VFIO_IOMMU_UNMAP_DMA:
        return unmapDma(this.mapper, argument, mm)
      case IOCTL.VFIO_IOMMU_DIRTY_PAGES:
        return dirtyPages(this.mapper, argument, mm)
      default:
        throw new VfioError('ENOTTY', 'ioctl', { reason: `type1 knows no request 0x${request.toString(16)}` })
    }
  }

  release(): void {
    this.#native.close()
  }
}
