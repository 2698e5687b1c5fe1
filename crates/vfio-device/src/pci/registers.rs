//! Offsets and bits of configuration space that the code names; from the PCI and PCI Express specifications.

/// Bytes of a conventional configuration space.
pub const CONFIG_SIZE: usize = 256;
/// Bytes of an extended configuration space.
pub const EXTENDED_CONFIG_SIZE: usize = 4096;
/// Bytes of the standard header.
pub const HEADER_SIZE: usize = 64;

/// Vendor id.
pub const VENDOR_ID: u16 = 0x00;
/// Device id.
pub const DEVICE_ID: u16 = 0x02;
/// Command register.
pub const COMMAND: u16 = 0x04;
/// Command: the function answers in I/O space.
pub const COMMAND_IO: u16 = 0x1;
/// Command: the function answers in memory space.
pub const COMMAND_MEMORY: u16 = 0x2;
/// Command: the function may master the bus.
pub const COMMAND_MASTER: u16 = 0x4;
/// Command: system errors are reported.
pub const COMMAND_SERR: u16 = 0x100;
/// Command: the interrupt line is held down.
pub const COMMAND_INTX_DISABLE: u16 = 0x400;
/// Status register.
pub const STATUS: u16 = 0x06;
/// Status: the function would drive its interrupt line.
pub const STATUS_INTERRUPT: u16 = 0x8;
/// Status: there is a capability list.
pub const STATUS_CAP_LIST: u16 = 0x10;
/// Status: the bits that a one clears.
pub const STATUS_ERRORS: u16 = 0xf900;
/// Revision id.
pub const REVISION_ID: u16 = 0x08;
/// Class code, 24 bits.
pub const CLASS_CODE: u16 = 0x09;
/// Cache line size.
pub const CACHE_LINE_SIZE: u16 = 0x0c;
/// Latency timer.
pub const LATENCY_TIMER: u16 = 0x0d;
/// Header type; bit 7 says that there are more functions.
pub const HEADER_TYPE: u16 = 0x0e;
/// Built-in self test.
pub const BIST: u16 = 0x0f;
/// First base address register.
pub const BAR0: u16 = 0x10;
/// Base address registers of a standard header.
pub const BAR_COUNT: usize = 6;
/// BAR: I/O space.
pub const BAR_IO: u32 = 0x1;
/// BAR: 64 bits wide.
pub const BAR_64: u32 = 0x4;
/// BAR: reads have no side effects.
pub const BAR_PREFETCH: u32 = 0x8;
/// Subsystem vendor id.
pub const SUBSYSTEM_VENDOR_ID: u16 = 0x2c;
/// Subsystem id.
pub const SUBSYSTEM_ID: u16 = 0x2e;
/// Expansion ROM base address register.
pub const ROM_BAR: u16 = 0x30;
/// ROM BAR: the function answers.
pub const ROM_ENABLE: u32 = 0x1;
/// Offset of the first capability.
pub const CAPABILITY_LIST: u16 = 0x34;
/// Interrupt line, for software's use.
pub const INTERRUPT_LINE: u16 = 0x3c;
/// Interrupt pin: 0 none, 1 INTA to 4 INTD.
pub const INTERRUPT_PIN: u16 = 0x3d;

/// Capability: offset of the next one.
pub const CAP_NEXT: u16 = 1;
/// Capability id: power management.
pub const CAP_ID_PM: u8 = 0x01;
/// Capability id: vital product data.
pub const CAP_ID_VPD: u8 = 0x03;
/// Capability id: message signalled interrupts.
pub const CAP_ID_MSI: u8 = 0x05;
/// Capability id: PCI-X.
pub const CAP_ID_PCIX: u8 = 0x07;
/// Capability id: HyperTransport.
pub const CAP_ID_HT: u8 = 0x08;
/// Capability id: vendor specific.
pub const CAP_ID_VENDOR: u8 = 0x09;
/// Capability id: PCI Express.
pub const CAP_ID_EXPRESS: u8 = 0x10;
/// Capability id: MSI-X.
pub const CAP_ID_MSIX: u8 = 0x11;
/// Capability id: serial ATA index and data.
pub const CAP_ID_SATA: u8 = 0x12;
/// Capability id: advanced features of conventional PCI.
pub const CAP_ID_AF: u8 = 0x13;

/// PM: capabilities register.
pub const PM_CAPS: u16 = 2;
/// PM capabilities: D1 is supported.
pub const PM_CAPS_D1: u16 = 0x200;
/// PM capabilities: D2 is supported.
pub const PM_CAPS_D2: u16 = 0x400;
/// PM capabilities: states from which power management events come.
pub const PM_CAPS_PME_MASK: u16 = 0xf800;
/// PM: control and status register.
pub const PM_CTRL: u16 = 4;
/// PM control: the power state.
pub const PM_CTRL_STATE: u16 = 0x3;
/// PM control: leaving D3hot keeps the state.
pub const PM_CTRL_NO_SOFT_RESET: u16 = 0x8;
/// PM control: power management events are enabled.
pub const PM_CTRL_PME_ENABLE: u16 = 0x100;
/// PM control: a power management event is pending.
pub const PM_CTRL_PME_STATUS: u16 = 0x8000;

/// VPD: address register.
pub const VPD_ADDR: u16 = 2;
/// VPD address: the flag that is flipped when a transfer is done.
pub const VPD_ADDR_FLAG: u16 = 0x8000;
/// VPD: data register.
pub const VPD_DATA: u16 = 4;

/// MSI: control register.
pub const MSI_FLAGS: u16 = 2;
/// MSI control: enabled.
pub const MSI_FLAGS_ENABLE: u16 = 0x1;
/// MSI control: vectors that the function can send, as a power of two.
pub const MSI_FLAGS_CAPABLE: u16 = 0x0e;
/// MSI control: vectors that it may send, as a power of two.
pub const MSI_FLAGS_QUEUE: u16 = 0x70;
/// MSI control: addresses have 64 bits.
pub const MSI_FLAGS_64: u16 = 0x80;
/// MSI control: vectors can be masked.
pub const MSI_FLAGS_MASKABLE: u16 = 0x100;
/// MSI: low half of the address.
pub const MSI_ADDRESS_LO: u16 = 4;
/// MSI: high half of the address, where it has one.
pub const MSI_ADDRESS_HI: u16 = 8;

/// MSI-X: control register.
pub const MSIX_FLAGS: u16 = 2;
/// MSI-X control: number of vectors less one.
pub const MSIX_FLAGS_SIZE: u16 = 0x7ff;
/// MSI-X control: every vector is masked.
pub const MSIX_FLAGS_MASK_ALL: u16 = 0x4000;
/// MSI-X control: enabled.
pub const MSIX_FLAGS_ENABLE: u16 = 0x8000;
/// MSI-X: BAR and offset of the table.
pub const MSIX_TABLE: u16 = 4;
/// MSI-X: BAR and offset of the pending bits.
pub const MSIX_PBA: u16 = 8;
/// MSI-X: the bits of the two that number the BAR.
pub const MSIX_BIR: u32 = 0x7;

/// Express: capabilities register.
pub const EXP_FLAGS: u16 = 2;
/// Express: device capabilities.
pub const EXP_DEVCAP: u16 = 4;
/// Express device capabilities: function level reset.
pub const EXP_DEVCAP_FLR: u32 = 0x1000_0000;
/// Express: device control.
pub const EXP_DEVCTL: u16 = 8;
/// Express device control: maximum payload size.
pub const EXP_DEVCTL_PAYLOAD: u16 = 0x00e0;
/// Express device control: phantom functions.
pub const EXP_DEVCTL_PHANTOM: u16 = 0x0200;
/// Express device control: maximum read request size.
pub const EXP_DEVCTL_READRQ: u16 = 0x7000;
/// Express device control: start a function level reset.
pub const EXP_DEVCTL_FLR: u16 = 0x8000;
/// Express: link control.
pub const EXP_LNKCTL: u16 = 16;
/// Express: device control 2.
pub const EXP_DEVCTL2: u16 = 40;
/// Express device control 2: ARI forwarding.
pub const EXP_DEVCTL2_ARI: u16 = 0x20;

/// AF: capabilities.
pub const AF_CAP: u16 = 3;
/// AF capabilities: transactions pending is reported.
pub const AF_CAP_TP: u8 = 0x1;
/// AF capabilities: function level reset.
pub const AF_CAP_FLR: u8 = 0x2;
/// AF: control.
pub const AF_CTRL: u16 = 4;
/// AF control: start a function level reset.
pub const AF_CTRL_FLR: u8 = 0x1;

/// Extended capability id: advanced error reporting.
pub const EXT_CAP_ID_AER: u16 = 0x01;
/// Extended capability id: virtual channels.
pub const EXT_CAP_ID_VC: u16 = 0x02;
/// Extended capability id: device serial number.
pub const EXT_CAP_ID_DSN: u16 = 0x03;
/// Extended capability id: power budgeting.
pub const EXT_CAP_ID_PWR: u16 = 0x04;
/// Extended capability id: virtual channels of multi-function devices.
pub const EXT_CAP_ID_MFVC: u16 = 0x08;
/// Extended capability id: virtual channels beside those.
pub const EXT_CAP_ID_VC9: u16 = 0x09;
/// Extended capability id: vendor specific.
pub const EXT_CAP_ID_VENDOR: u16 = 0x0b;
/// Extended capability id: access control services.
pub const EXT_CAP_ID_ACS: u16 = 0x0d;
/// Extended capability id: alternative routing id.
pub const EXT_CAP_ID_ARI: u16 = 0x0e;
/// Extended capability id: address translation services.
pub const EXT_CAP_ID_ATS: u16 = 0x0f;
/// Extended capability id: single root I/O virtualisation.
pub const EXT_CAP_ID_SRIOV: u16 = 0x10;
/// Extended capability id: multicast.
pub const EXT_CAP_ID_MULTICAST: u16 = 0x12;
/// Extended capability id: page requests.
pub const EXT_CAP_ID_PRI: u16 = 0x13;
/// Extended capability id: resizable BARs.
pub const EXT_CAP_ID_REBAR: u16 = 0x15;
/// Extended capability id: dynamic power allocation.
pub const EXT_CAP_ID_DPA: u16 = 0x16;
/// Extended capability id: transaction processing hints.
pub const EXT_CAP_ID_TPH: u16 = 0x17;
/// Extended capability id: latency tolerance reporting.
pub const EXT_CAP_ID_LTR: u16 = 0x18;
/// Extended capability id: designated vendor specific.
pub const EXT_CAP_ID_DVSEC: u16 = 0x23;

/// AER: uncorrectable error status.
pub const AER_UNCOR_STATUS: u16 = 4;
/// AER: uncorrectable error mask.
pub const AER_UNCOR_MASK: u16 = 8;
/// AER: uncorrectable error severity.
pub const AER_UNCOR_SEVERITY: u16 = 12;
/// AER: correctable error status.
pub const AER_COR_STATUS: u16 = 16;
/// AER: correctable error mask.
pub const AER_COR_MASK: u16 = 20;
/// AER: capabilities and control.
pub const AER_CAP: u16 = 24;
/// AER: root command, where the part of endpoints ends.
pub const AER_ENDPOINT_SIZE: usize = 44;
