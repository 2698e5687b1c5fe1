/** A machine with one model, opened. */
import {
  type HostMemory,
  type PciModel,
  SoftwareHost,
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_TYPE1v2_IOMMU,
} from 'vfio'
import { vi } from 'vitest'

export const ADDRESS = '0000:00:03.0'

/** Plugs a model in and opens it, with `memory` at IOVA 0. */
export function opened(model: PciModel, memory?: HostMemory) {
  const host = new SoftwareHost()
  host.pci.add(ADDRESS, model, { driver: 'vfio-pci' })
  const container = host.openContainer()
  const group = host.openGroup(host.groupOf(ADDRESS).number)
  group.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  if (memory !== undefined) container.mapDma({ iova: 0, memory, read: true, write: true })
  const device = group.getDevice(ADDRESS)
  const config = device.region(VFIO_PCI_CONFIG_REGION_INDEX)
  config.writeU16(4, config.readU16(4) | 6)
  const bar = device.region(VFIO_PCI_BAR0_REGION_INDEX)
  return { host, group, device, config, bar, [Symbol.dispose]: () => host.close() }
}

/** Gathers what the process is warned of. */
export function warnings(): Error[] {
  const warned: Error[] = []
  vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void warned.push(warning as Error))
  return warned
}

/** A promise and what settles it. */
export function gate() {
  let open = () => {}
  let fail: (error: unknown) => void = () => {}
  const passed = new Promise<void>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  return { passed, open, fail }
}

/** Four bytes. */
export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer)
}

/** The value of four bytes. */
export function value(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
}
