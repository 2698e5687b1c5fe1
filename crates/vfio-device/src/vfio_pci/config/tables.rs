//! The permissions of the header and of each capability.

use std::sync::OnceLock;

use super::Access;
use super::map::ID_BASIC;
use super::perm::{ALL_VIRT, ALL_WRITE, NO_VIRT, NO_WRITE, PermBits};
use crate::pci::registers::{
    AER_CAP, AER_COR_MASK, AER_COR_STATUS, AER_ENDPOINT_SIZE, AER_UNCOR_MASK, AER_UNCOR_SEVERITY,
    AER_UNCOR_STATUS, AF_CTRL, AF_CTRL_FLR, BAR_COUNT, BAR0, BIST, CACHE_LINE_SIZE, CAP_ID_AF,
    CAP_ID_EXPRESS, CAP_ID_MSI, CAP_ID_PCIX, CAP_ID_PM, CAP_ID_VENDOR, CAP_ID_VPD, CAP_NEXT, CAPABILITY_LIST,
    COMMAND, COMMAND_INTX_DISABLE, DEVICE_ID, EXP_DEVCTL, EXP_DEVCTL_FLR, EXP_DEVCTL_PAYLOAD,
    EXP_DEVCTL_PHANTOM, EXP_DEVCTL_READRQ, EXP_DEVCTL2, EXP_DEVCTL2_ARI, EXT_CAP_ID_AER, EXT_CAP_ID_DVSEC,
    EXT_CAP_ID_PWR, EXT_CAP_ID_VENDOR, HEADER_SIZE, INTERRUPT_LINE, INTERRUPT_PIN, LATENCY_TIMER,
    MSI_ADDRESS_HI, MSI_ADDRESS_LO, MSI_FLAGS, MSI_FLAGS_64, MSI_FLAGS_MASKABLE, PM_CAPS, PM_CAPS_PME_MASK,
    PM_CTRL, PM_CTRL_PME_ENABLE, PM_CTRL_PME_STATUS, PM_CTRL_STATE, ROM_BAR, STATUS, STATUS_CAP_LIST,
    VENDOR_ID, VPD_ADDR, VPD_DATA,
};

/// Command register of PCI-X.
const PCIX_COMMAND: u16 = 2;
/// Error status of PCI-X.
const PCIX_ECC_STATUS: u16 = 8;
/// Data select register of power budgeting.
const PWR_DATA_SELECT: u16 = 4;
/// Uncorrectable errors that have a number.
const UNCORRECTABLE: u32 = 0x03ff_f031;
/// Correctable errors that have a number.
const CORRECTABLE: u32 = 0x0000_f1c1;
/// AER control: generate and check end-to-end CRCs.
const AER_ECRC: u32 = 0x0000_0140;

/// Names what a write does beside changing bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// Nothing.
    Plain,
    /// The command register and BARs have consequences.
    Header,
    /// The power state changes through the driver.
    Power,
    /// The transfer is made by the driver.
    Vpd,
    /// Resets and read request sizes go through the driver.
    Express,
    /// Resets go through the driver.
    AdvancedFeatures,
    /// The control register is corrected.
    Msi,
}

/// Holds the permissions that are the same for every device.
pub(super) struct Tables {
    header: PermBits,
    power: PermBits,
    vpd: PermBits,
    pcix: PermBits,
    express: PermBits,
    advanced: PermBits,
    /// By the bits for 64-bit addresses and for masking.
    msi: [PermBits; 4],
    aer: PermBits,
    power_budget: PermBits,
}

impl Tables {
    /// Returns the tables, made when first asked for.
    pub(super) fn get() -> &'static Self {
        static TABLES: OnceLock<Tables> = OnceLock::new();
        TABLES.get_or_init(|| Self {
            header: header(),
            power: power(),
            vpd: linked(8).word(VPD_ADDR, ALL_VIRT, ALL_WRITE).dword(VPD_DATA, ALL_VIRT, ALL_WRITE),
            pcix: linked(24).word(PCIX_COMMAND, NO_VIRT, ALL_WRITE).dword(
                PCIX_ECC_STATUS,
                NO_VIRT,
                ALL_WRITE,
            ),
            express: express(),
            advanced: linked(6).byte(AF_CTRL, u32::from(AF_CTRL_FLR), u32::from(AF_CTRL_FLR)),
            msi: [msi(0), msi(MSI_FLAGS_64), msi(MSI_FLAGS_MASKABLE), msi(MSI_FLAGS_64 | MSI_FLAGS_MASKABLE)],
            aer: aer(),
            power_budget: PermBits::new(16).dword(0, ALL_VIRT, NO_WRITE).byte(
                PWR_DATA_SELECT,
                NO_VIRT,
                ALL_WRITE,
            ),
        })
    }

    /// Returns the treatment of a capability of the first 256 bytes.
    pub(super) fn standard(&'static self, id: u8, msi_flags: u16) -> Access<'static> {
        match id {
            ID_BASIC => Access::Bits(&self.header, Writer::Header),
            CAP_ID_PM => Access::Bits(&self.power, Writer::Power),
            CAP_ID_VPD => Access::Bits(&self.vpd, Writer::Vpd),
            CAP_ID_PCIX => Access::Bits(&self.pcix, Writer::Plain),
            CAP_ID_EXPRESS => Access::Bits(&self.express, Writer::Express),
            CAP_ID_AF => Access::Bits(&self.advanced, Writer::AdvancedFeatures),
            CAP_ID_VENDOR => Access::DirectWritable,
            CAP_ID_MSI => {
                let wide = usize::from(msi_flags & MSI_FLAGS_64 != 0);
                let maskable = usize::from(msi_flags & MSI_FLAGS_MASKABLE != 0);
                Access::Bits(&self.msi[wide + 2 * maskable], Writer::Msi)
            }
            _ => Access::Direct,
        }
    }

    /// Returns the treatment of a capability of the extended space.
    pub(super) fn extended(&'static self, id: u8) -> Access<'static> {
        match u16::from(id) {
            EXT_CAP_ID_AER => Access::Bits(&self.aer, Writer::Plain),
            EXT_CAP_ID_PWR => Access::Bits(&self.power_budget, Writer::Plain),
            EXT_CAP_ID_VENDOR | EXT_CAP_ID_DVSEC => Access::DirectWritable,
            _ => Access::Direct,
        }
    }
}

/// Makes a capability whose link is virtual, so that others can be taken out of the chain.
fn linked(size: usize) -> PermBits {
    PermBits::new(size).byte(CAP_NEXT, ALL_VIRT, NO_WRITE)
}

fn header() -> PermBits {
    let mut bits = PermBits::new(HEADER_SIZE)
        .word(VENDOR_ID, ALL_VIRT, NO_WRITE)
        .word(DEVICE_ID, ALL_VIRT, NO_WRITE)
        // The driver uses the bit itself, and emulates it for functions without it.
        .word(COMMAND, u32::from(COMMAND_INTX_DISABLE), ALL_WRITE)
        .word(STATUS, u32::from(STATUS_CAP_LIST), NO_WRITE)
        .byte(CACHE_LINE_SIZE, NO_VIRT, ALL_WRITE)
        .byte(LATENCY_TIMER, NO_VIRT, ALL_WRITE)
        .byte(BIST, NO_VIRT, ALL_WRITE)
        .dword(ROM_BAR, ALL_VIRT, ALL_WRITE)
        .byte(CAPABILITY_LIST, ALL_VIRT, NO_WRITE)
        .byte(INTERRUPT_LINE, ALL_VIRT, ALL_WRITE)
        .byte(INTERRUPT_PIN, ALL_VIRT, NO_WRITE);
    for bar in (BAR0..).step_by(4).take(BAR_COUNT) {
        bits = bits.dword(bar, ALL_VIRT, ALL_WRITE);
    }
    bits
}

fn power() -> PermBits {
    let events = PM_CTRL_PME_ENABLE | PM_CTRL_PME_STATUS;
    linked(8).word(PM_CAPS, u32::from(PM_CAPS_PME_MASK), NO_WRITE).dword(
        PM_CTRL,
        u32::from(events),
        !u32::from(events | PM_CTRL_STATE),
    )
}

fn express() -> PermBits {
    let emulated = EXP_DEVCTL_FLR | EXP_DEVCTL_PAYLOAD | EXP_DEVCTL_READRQ;
    linked(44).word(EXP_DEVCTL, u32::from(emulated), !u32::from(EXP_DEVCTL_PHANTOM)).word(
        EXP_DEVCTL2,
        NO_VIRT,
        !u32::from(EXP_DEVCTL2_ARI),
    )
}

fn msi(flags: u16) -> PermBits {
    let wide = flags & MSI_FLAGS_64 != 0;
    let data = if wide { 12 } else { 8 };
    // The upper half of the control register is reserved.
    let mut bits = linked(24).byte(MSI_FLAGS, ALL_VIRT, ALL_WRITE).dword(MSI_ADDRESS_LO, ALL_VIRT, ALL_WRITE);
    if wide {
        bits = bits.dword(MSI_ADDRESS_HI, ALL_VIRT, ALL_WRITE);
    }
    bits = bits.word(data, ALL_VIRT, ALL_WRITE);
    if flags & MSI_FLAGS_MASKABLE != 0 {
        bits = bits.dword(data + 4, NO_VIRT, ALL_WRITE).dword(data + 8, NO_VIRT, ALL_WRITE);
    }
    bits
}

fn aer() -> PermBits {
    PermBits::new(AER_ENDPOINT_SIZE)
        .dword(0, ALL_VIRT, NO_WRITE)
        .dword(AER_UNCOR_STATUS, NO_VIRT, UNCORRECTABLE)
        .dword(AER_UNCOR_MASK, NO_VIRT, UNCORRECTABLE)
        .dword(AER_UNCOR_SEVERITY, NO_VIRT, UNCORRECTABLE)
        .dword(AER_COR_STATUS, NO_VIRT, CORRECTABLE)
        .dword(AER_COR_MASK, NO_VIRT, CORRECTABLE)
        .dword(AER_CAP, NO_VIRT, AER_ECRC)
}
