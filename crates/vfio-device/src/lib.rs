//! Devices: the device interface, regions, interrupts, PCI configuration space and models.
