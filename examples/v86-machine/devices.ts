/** The simulated machine whose devices the guest gets: a serial card that echoes, and a function that does DMA. */
import { Edu, mtty, SoftwareHost, VFIO_TYPE1v2_IOMMU, type Container, type Device } from 'vfio'

const EDU = '0000:00:03.0'

/** Open devices in one container. Closing gives all of it up. */
export interface Devices {
  readonly container: Container
  /** Two 16550A ports in I/O space, INTx. */
  readonly serial: Device
  /** Registers in memory space, DMA both ways, INTx. */
  readonly edu: Device
  [Symbol.dispose](): void
}

/** Builds the machine and opens its devices. */
export function openDevices(): Devices {
  const host = new SoftwareHost()
  host.mdev.registerParent('mtty', mtty({ repaired: true })) // its faults would stop the guest's driver
  const card = host.mdev.create('mtty-2')
  host.pci.add(EDU, new Edu(), { driver: 'vfio-pci' })

  const container = host.openContainer()
  const [serialGroup, eduGroup] = [card.uuid, EDU].map((name) => host.openGroup(host.groupOf(name).number))
  if (serialGroup === undefined || eduGroup === undefined) throw new Error('two names, two groups')
  serialGroup.setContainer(container)
  container.setIommu(VFIO_TYPE1v2_IOMMU)
  eduGroup.setContainer(container)
  const serial = serialGroup.getDevice(card.uuid)
  const edu = eduGroup.getDevice(EDU)
  const close = (): void =>
    [edu, serial, eduGroup, serialGroup, container, host].forEach((one) => one[Symbol.dispose]())
  return { container, serial, edu, [Symbol.dispose]: close }
}
