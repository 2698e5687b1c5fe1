//! Capabilities of a function: their bytes and what the hardware lets a write change.

use super::registers::{
    AF_CAP_FLR, AF_CAP_TP, CAP_ID_AF, CAP_ID_EXPRESS, CAP_ID_MSI, CAP_ID_MSIX, CAP_ID_PM, CAP_ID_VENDOR,
    EXP_DEVCAP_FLR, EXT_CAP_ID_DSN, MSI_FLAGS_64, MSI_FLAGS_ENABLE, MSI_FLAGS_MASKABLE, MSI_FLAGS_QUEUE,
    MSIX_FLAGS_ENABLE, MSIX_FLAGS_MASK_ALL, PM_CTRL_NO_SOFT_RESET, PM_CTRL_STATE,
};

/// Holds a capability of the first 256 bytes; the function fills in where the next one lies.
#[derive(Debug, Clone)]
pub struct Capability {
    /// Its bytes, the id first.
    pub bytes: Vec<u8>,
    /// Which bits a write changes, byte for byte.
    pub writable: Vec<u8>,
    /// Which bits a one clears, byte for byte.
    pub clearable: Vec<u8>,
    /// Where it lies; none: behind the ones before it.
    pub at: Option<u8>,
}

/// Holds a capability of the extended space; the function fills in where the next one lies.
#[derive(Debug, Clone)]
pub struct ExtendedCapability {
    /// Which capability.
    pub id: u16,
    /// Version of its layout, 4 bits.
    pub version: u8,
    /// Its bytes behind the header of four.
    pub bytes: Vec<u8>,
    /// Which bits a write changes, byte for byte.
    pub writable: Vec<u8>,
    /// Where it lies; none: behind the ones before it.
    pub at: Option<u16>,
}

/// Describes an MSI capability.
#[derive(Debug, Clone, Copy)]
pub struct MsiSpec {
    /// Vectors: a power of two up to 32.
    pub vectors: u8,
    /// Messages go to 64-bit addresses.
    pub wide: bool,
    /// Vectors can be masked one by one.
    pub maskable: bool,
}

/// Describes an MSI-X capability.
#[derive(Debug, Clone, Copy)]
pub struct MsixSpec {
    /// Vectors: 1 to 2048.
    pub vectors: u16,
    /// BAR that holds the table.
    pub table_bar: u8,
    /// Offset of the table, a multiple of 8.
    pub table_offset: u32,
    /// BAR that holds the pending bits.
    pub pba_bar: u8,
    /// Offset of the pending bits, a multiple of 8.
    pub pba_offset: u32,
}

/// Describes a power management capability.
#[derive(Debug, Clone, Copy, Default)]
pub struct PowerSpec {
    /// The capabilities register.
    pub capabilities: u16,
    /// Leaving D3hot keeps the state; otherwise it resets the function.
    pub no_soft_reset: bool,
    /// Bits of the control register that a write changes beside the power state.
    pub control_writable: u16,
}

/// Describes a PCI Express capability of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct ExpressSpec {
    /// The capabilities register: version, port type, flags.
    pub flags: u16,
    /// Device capabilities; `EXP_DEVCAP_FLR` promises a function level reset.
    pub device_capabilities: u32,
    /// Bits of device control that a write changes.
    pub device_control_writable: u16,
    /// Link capabilities.
    pub link_capabilities: u32,
    /// Link status.
    pub link_status: u16,
    /// Device capabilities 2.
    pub device_capabilities2: u32,
    /// Bits of device control 2 that a write changes.
    pub device_control2_writable: u16,
}

impl ExpressSpec {
    /// An endpoint with function level reset and nothing remarkable otherwise.
    #[must_use]
    pub const fn endpoint() -> Self {
        Self {
            flags: 0x0002,
            device_capabilities: 0x0000_8020 | EXP_DEVCAP_FLR,
            device_control_writable: 0x000f,
            link_capabilities: 0x0000_0411,
            link_status: 0x0011,
            device_capabilities2: 0x0030_0000,
            device_control2_writable: 0x8000,
        }
    }
}

impl Capability {
    /// Makes a read-only capability of raw bytes behind the id and the link.
    #[must_use]
    pub fn raw(id: u8, body: &[u8]) -> Self {
        let mut bytes = vec![id, 0];
        bytes.extend_from_slice(body);
        let size = bytes.len();
        Self { bytes, writable: vec![0; size], clearable: vec![0; size], at: None }
    }

    /// Places the capability.
    #[must_use]
    pub fn at(mut self, offset: u8) -> Self {
        self.at = Some(offset);
        self
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn allow(&mut self, offset: usize, mask: &[u8]) {
        self.writable[offset..offset + mask.len()].copy_from_slice(mask);
    }

    /// Makes an MSI capability.
    #[must_use]
    pub fn msi(spec: MsiSpec) -> Self {
        let data = if spec.wide { 12 } else { 8 };
        // Without masking the capability ends behind the 16 bits of data; with it, mask and pending bits follow.
        let size = if spec.maskable { data + 12 } else { data + 2 };
        let mut flags = (u16::from(spec.vectors.max(1)).ilog2() as u16) << 1;
        if spec.wide {
            flags |= MSI_FLAGS_64;
        }
        if spec.maskable {
            flags |= MSI_FLAGS_MASKABLE;
        }
        let mut cap = Self::raw(CAP_ID_MSI, &vec![0; size - 2]);
        cap.put(2, &flags.to_le_bytes());
        cap.allow(2, &(MSI_FLAGS_ENABLE | MSI_FLAGS_QUEUE).to_le_bytes());
        cap.allow(4, &0xffff_fffcu32.to_le_bytes());
        if spec.wide {
            cap.allow(8, &[0xff; 4]);
        }
        cap.allow(data, &[0xff; 2]);
        if spec.maskable {
            let mask = u32::MAX >> (32 - u32::from(spec.vectors.clamp(1, 32)));
            cap.allow(data + 4, &mask.to_le_bytes());
        }
        cap
    }

    /// Makes an MSI-X capability.
    #[must_use]
    pub fn msix(spec: MsixSpec) -> Self {
        let mut cap = Self::raw(CAP_ID_MSIX, &[0; 10]);
        cap.put(2, &(spec.vectors.max(1) - 1).to_le_bytes());
        cap.put(4, &(spec.table_offset & !7 | u32::from(spec.table_bar & 7)).to_le_bytes());
        cap.put(8, &(spec.pba_offset & !7 | u32::from(spec.pba_bar & 7)).to_le_bytes());
        cap.allow(2, &(MSIX_FLAGS_ENABLE | MSIX_FLAGS_MASK_ALL).to_le_bytes());
        cap
    }

    /// Makes a power management capability.
    #[must_use]
    pub fn power(spec: PowerSpec) -> Self {
        let mut cap = Self::raw(CAP_ID_PM, &[0; 6]);
        cap.put(2, &spec.capabilities.to_le_bytes());
        if spec.no_soft_reset {
            cap.put(4, &PM_CTRL_NO_SOFT_RESET.to_le_bytes());
        }
        cap.allow(4, &(PM_CTRL_STATE | spec.control_writable).to_le_bytes());
        cap
    }

    /// Makes a PCI Express capability.
    #[must_use]
    pub fn express(spec: ExpressSpec) -> Self {
        let mut cap = Self::raw(CAP_ID_EXPRESS, &[0; 0x3a]);
        cap.put(2, &spec.flags.to_le_bytes());
        cap.put(4, &spec.device_capabilities.to_le_bytes());
        cap.allow(8, &spec.device_control_writable.to_le_bytes());
        cap.put(12, &spec.link_capabilities.to_le_bytes());
        cap.put(18, &spec.link_status.to_le_bytes());
        cap.put(36, &spec.device_capabilities2.to_le_bytes());
        cap.allow(40, &spec.device_control2_writable.to_le_bytes());
        cap
    }

    /// Makes the capability by which a conventional function promises a function level reset.
    #[must_use]
    pub fn advanced_features() -> Self {
        Self::raw(CAP_ID_AF, &[6, AF_CAP_TP | AF_CAP_FLR, 0, 0])
    }

    /// Makes a vendor-specific capability, whose bytes a write changes where `writable` says so.
    #[must_use]
    pub fn vendor(body: &[u8], writable: &[u8]) -> Self {
        let mut framed = vec![u8::try_from(body.len() + 3).unwrap_or(u8::MAX)];
        framed.extend_from_slice(body);
        let mut cap = Self::raw(CAP_ID_VENDOR, &framed);
        let len = writable.len().min(body.len());
        cap.allow(3, &writable[..len]);
        cap
    }
}

impl ExtendedCapability {
    /// Makes a read-only capability.
    #[must_use]
    pub fn raw(id: u16, version: u8, bytes: &[u8]) -> Self {
        Self { id, version, bytes: bytes.to_vec(), writable: vec![0; bytes.len()], at: None }
    }

    /// Places the capability.
    #[must_use]
    pub fn at(mut self, offset: u16) -> Self {
        self.at = Some(offset);
        self
    }

    /// Makes a device serial number.
    #[must_use]
    pub fn serial_number(serial: u64) -> Self {
        Self::raw(EXT_CAP_ID_DSN, 1, &serial.to_le_bytes())
    }
}
