/** Hot reset: resetting a slot or bus, and with it every device that sits there. */

/** A device that a hot reset would reset (`struct vfio_pci_dependent_device`). */
export interface HotResetDevice {
  /** Number of its IOMMU group. */
  group: number
  segment: number
  bus: number
  /** Device number in bits 3 to 7, function number in bits 0 to 2. */
  devfn: number
  /** Whether a VFIO driver holds the device, so that it can be reset with its siblings. */
  bound: boolean
}

/** What the topology knows about the reset that reaches a device; implemented by its bus. */
export interface HotResetProvider {
  /** Lists the devices that the reset reaches, this one included. @throws {VfioError} ENODEV neither slot nor bus can be reset */
  affected(): readonly HotResetDevice[]
  /** Resets them all. @throws {VfioError} */
  reset(): void
}
