/** What the sample displays have in common as VFIO devices: PCI functions with video memory in BAR 0 and without interrupts. */
import type { DeviceInfo, IrqInfo, RegionInfo, RegionMapping, RegionPlace, VfioDeviceOps } from '../device/ops.ts'
import { VfioError } from '../errors.ts'
import { VFIO_DEVICE_FLAGS_PCI, VFIO_PCI_NUM_IRQS } from '../uapi/constants.ts'
import type { DisplayRegions } from './display-regions.ts'
import type { Framebuffer } from './framebuffer.ts'

/** A display; requests of its own and its reset are for those who inherit. */
export abstract class DisplayDevice implements VfioDeviceOps {
  abstract readonly name: string
  protected abstract readonly framebuffer: Framebuffer
  protected abstract readonly regions: DisplayRegions

  /** The video memory goes with the device. */
  release(): void {
    this.framebuffer.drop()
  }

  getInfo(): DeviceInfo {
    return { flags: VFIO_DEVICE_FLAGS_PCI, numRegions: this.regions.count, numIrqs: VFIO_PCI_NUM_IRQS }
  }

  getRegionInfo(index: number): RegionInfo {
    return this.regions.info(index)
  }

  /** There are indexes, and no interrupt in any of them. @throws {VfioError} EINVAL no such index */
  getIrqInfo(index: number): IrqInfo {
    if (index >= VFIO_PCI_NUM_IRQS) {
      throw new VfioError('EINVAL', 'VFIO_DEVICE_GET_IRQ_INFO', { reason: `there is no index ${index}` })
    }
    return { flags: 0, count: 0 }
  }

  /** @throws {VfioError} EINVAL whatever is asked */
  setIrqs(): void {
    throw new VfioError('EINVAL', 'VFIO_DEVICE_SET_IRQS', { reason: `${this.name} has no interrupts` })
  }

  locate(position: bigint): RegionPlace {
    return this.regions.locate(position)
  }

  /** @throws {VfioError} EFAULT between regions, or beyond the last */
  read(region: number, offset: bigint, into: Uint8Array): number {
    return this.regions.read(region, offset, into)
  }

  /** @throws {VfioError} EFAULT between regions, or beyond the last */
  write(region: number, offset: bigint, from: Uint8Array): number {
    return this.regions.write(region, offset, from)
  }

  /** @throws {VfioError} EINVAL anything but video memory from its start on, shared */
  mmap(
    region: number,
    offset: bigint,
    length: bigint,
    access: { read: boolean; write: boolean; shared: boolean },
  ): RegionMapping {
    if (!this.regions.isMappable(region))
      throw new VfioError('EINVAL', 'mmap', { reason: `region ${region} is not mapped` })
    return this.framebuffer.map(offset, length, access)
  }
}
