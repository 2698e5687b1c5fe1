//! How long capabilities are. Length 0 hides a capability: it means nothing to a user, or could do harm.

use crate::pci::PciFunction;
use crate::pci::registers::{
    AER_ENDPOINT_SIZE, CAP_ID_AF, CAP_ID_EXPRESS, CAP_ID_HT, CAP_ID_MSI, CAP_ID_MSIX, CAP_ID_PCIX, CAP_ID_PM,
    CAP_ID_SATA, CAP_ID_VENDOR, CAP_ID_VPD, EXP_FLAGS, EXT_CAP_ID_ACS, EXT_CAP_ID_AER, EXT_CAP_ID_ARI,
    EXT_CAP_ID_ATS, EXT_CAP_ID_DPA, EXT_CAP_ID_DSN, EXT_CAP_ID_DVSEC, EXT_CAP_ID_LTR, EXT_CAP_ID_MFVC,
    EXT_CAP_ID_MULTICAST, EXT_CAP_ID_PRI, EXT_CAP_ID_PWR, EXT_CAP_ID_REBAR, EXT_CAP_ID_SRIOV, EXT_CAP_ID_TPH,
    EXT_CAP_ID_VC, EXT_CAP_ID_VC9, EXT_CAP_ID_VENDOR, MSI_FLAGS, MSI_FLAGS_64, MSI_FLAGS_MASKABLE,
};

/// Capability id: accelerated graphics.
const CAP_ID_AGP: u8 = 0x02;
/// Port type of an endpoint inside the root complex, which has no link.
const TYPE_RC_ENDPOINT: u16 = 0x9;

/// Returns the bytes of a capability of the first 256.
pub(super) fn standard_length(function: &PciFunction, id: u8, at: u16) -> usize {
    match id {
        CAP_ID_PM | CAP_ID_VPD => 8,
        CAP_ID_AGP | CAP_ID_MSIX => 12,
        CAP_ID_AF => 6,
        CAP_ID_MSI => {
            let flags = function.config_u16(at + MSI_FLAGS);
            let wide = if flags & MSI_FLAGS_64 != 0 { 4 } else { 0 };
            let maskable = if flags & MSI_FLAGS_MASKABLE != 0 { 10 } else { 0 };
            10 + wide + maskable
        }
        CAP_ID_PCIX => match function.config_u16(at + 2) >> 12 & 0x3 {
            0 => 8,
            _ => 24,
        },
        CAP_ID_HT => {
            // Slave and host interfaces have long forms, everything else is short.
            if function.config_u8(at + 3) & 0xe0 != 0 { 24 } else { 28 }
        }
        CAP_ID_VENDOR => usize::from(function.config_u8(at + 2)),
        CAP_ID_EXPRESS => {
            let flags = function.config_u16(at + EXP_FLAGS);
            let linkless = flags >> 4 & 0xf == TYPE_RC_ENDPOINT;
            match (flags & 0xf, linkless) {
                (1, true) => 12,
                (1, false) => 20,
                _ => 44,
            }
        }
        CAP_ID_SATA => {
            if function.config_u8(at + 4) & 0xf == 0xf {
                16
            } else {
                8
            }
        }
        _ => 0,
    }
}

/// Returns the bytes of a capability of the extended space.
pub(super) fn extended_length(function: &PciFunction, id: u16, at: u16) -> usize {
    let dword = |offset: u16| function.config_u32(at.saturating_add(offset));
    let byte = |offset: u16| usize::from(function.config_u8(at.saturating_add(offset)));
    match id {
        EXT_CAP_ID_AER => AER_ENDPOINT_SIZE,
        EXT_CAP_ID_DSN => 12,
        EXT_CAP_ID_PWR | EXT_CAP_ID_PRI => 16,
        EXT_CAP_ID_ARI | EXT_CAP_ID_ATS | EXT_CAP_ID_LTR => 8,
        EXT_CAP_ID_SRIOV => 64,
        EXT_CAP_ID_MULTICAST => 44,
        EXT_CAP_ID_VENDOR | EXT_CAP_ID_DVSEC => (dword(4) >> 20) as usize,
        EXT_CAP_ID_VC | EXT_CAP_ID_VC9 | EXT_CAP_ID_MFVC => {
            let channels = 1 + (dword(4) & 0x7) as usize;
            let phases = match dword(8) {
                caps if caps & 0x20 != 0 => 128,
                caps if caps & 0x10 != 0 => 64,
                caps if caps & 0x08 != 0 => 32,
                _ => 0,
            };
            let len = 16 + channels * 12;
            if phases == 0 { len } else { len.next_multiple_of(16) + phases / 2 }
        }
        EXT_CAP_ID_ACS => {
            if byte(4) & 0x20 == 0 {
                return 8;
            }
            match byte(5) {
                0 => 8 + 256 / 8,
                bits => 8 + bits.next_multiple_of(32) / 8,
            }
        }
        EXT_CAP_ID_REBAR => 4 + (byte(8) >> 5) * 8,
        EXT_CAP_ID_DPA => 16 + (byte(4) & 0x1f) + 1,
        EXT_CAP_ID_TPH => {
            let caps = dword(4);
            if caps & 0x600 == 0x200 { 12 + (caps >> 16 & 0x7ff) as usize * 2 + 2 } else { 12 }
        }
        _ => 0,
    }
}
