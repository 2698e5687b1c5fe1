//! What a function is made of.

use vfio_uapi::Errno;

use super::bar::{BarSpace, BarSpec};
use super::capability::{Capability, ExtendedCapability};
use super::config_space::ConfigSpace;
use super::registers::{
    BAR_64, BAR_COUNT, BAR_IO, BAR_PREFETCH, BAR0, CACHE_LINE_SIZE, CAPABILITY_LIST, CLASS_CODE, COMMAND,
    COMMAND_INTX_DISABLE, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, COMMAND_SERR, CONFIG_SIZE, DEVICE_ID,
    EXTENDED_CONFIG_SIZE, HEADER_SIZE, HEADER_TYPE, INTERRUPT_LINE, INTERRUPT_PIN, REVISION_ID, ROM_BAR,
    ROM_ENABLE, STATUS, STATUS_CAP_LIST, STATUS_ERRORS, SUBSYSTEM_ID, SUBSYSTEM_VENDOR_ID, VENDOR_ID,
};

/// Identifies a kind of function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Subsystem vendor id.
    pub subsystem_vendor: u16,
    /// Subsystem id.
    pub subsystem: u16,
    /// Revision id.
    pub revision: u8,
    /// Class code, 24 bits.
    pub class: u32,
}

/// Describes an expansion ROM.
#[derive(Debug, Clone)]
pub struct RomSpec {
    /// Size of its BAR: a power of two, at least 2048.
    pub size: u32,
    /// What it contains.
    pub image: Vec<u8>,
}

/// Describes a function.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// Name for messages and faults, such as `0000:06:0d.0`.
    pub name: String,
    /// Which kind of function it is.
    pub identity: Identity,
    /// The device has more than one function.
    pub multifunction: bool,
    /// Interrupt pin: 0 none, 1 INTA to 4 INTD.
    pub interrupt_pin: u8,
    /// The function can hold its interrupt line down (`COMMAND_INTX_DISABLE`), as of PCI 2.3.
    pub intx_disable: bool,
    /// Base address registers; one of 64 bits takes the place of two.
    pub bars: [Option<BarSpec>; BAR_COUNT],
    /// Expansion ROM.
    pub rom: Option<RomSpec>,
    /// Capabilities in the order of their chain.
    pub capabilities: Vec<Capability>,
    /// Configuration space has 4096 bytes.
    pub extended_config: bool,
    /// Capabilities of the extended space in the order of their chain.
    pub extended_capabilities: Vec<ExtendedCapability>,
    /// Bytes that no capability covers can be written and keep what was written.
    pub scratch_config: bool,
    /// Vital product data behind a VPD capability.
    pub vital_product_data: Vec<u8>,
}

/// Offsets of the capabilities that the hardware acts on.
#[derive(Debug, Clone, Default)]
pub(super) struct CapabilityMap {
    /// Where each of them lies, and how long it is.
    pub(super) extents: Vec<(u16, usize)>,
    pub(super) msi: Option<u16>,
    pub(super) msix: Option<u16>,
    pub(super) power: Option<u16>,
    pub(super) express: Option<u16>,
    pub(super) advanced: Option<u16>,
}

impl FunctionSpec {
    /// Describes a function with an identity and nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>, identity: Identity) -> Self {
        Self {
            name: name.into(),
            identity,
            multifunction: false,
            interrupt_pin: 0,
            intx_disable: true,
            bars: Default::default(),
            rom: None,
            capabilities: Vec::new(),
            extended_config: false,
            extended_capabilities: Vec::new(),
            scratch_config: true,
            vital_product_data: Vec::new(),
        }
    }

    /// Lays configuration space out.
    ///
    /// # Errors
    /// `EINVAL` a BAR, the ROM or the pin makes no sense; capabilities overlap or do not fit.
    pub(super) fn lay_out(&self) -> Result<(ConfigSpace, CapabilityMap), Errno> {
        self.check()?;
        let mut config = ConfigSpace::new(self.extended_config);
        if self.scratch_config {
            config.set_writable(HEADER_SIZE as u16, &vec![0xff; config.size() - HEADER_SIZE]);
        }
        self.lay_out_header(&mut config);
        let map = self.lay_out_capabilities(&mut config)?;
        self.lay_out_extended(&mut config)?;
        Ok((config, map))
    }

    fn check(&self) -> Result<(), Errno> {
        if self.interrupt_pin > 4 || self.identity.class >> 24 != 0 {
            return Err(Errno::EINVAL);
        }
        for (index, bar) in self.bars.iter().enumerate() {
            let Some(bar) = bar else { continue };
            bar.check()?;
            if bar.space == BarSpace::Memory64 && self.bars.get(index + 1).is_none_or(Option::is_some) {
                return Err(Errno::EINVAL);
            }
        }
        match &self.rom {
            Some(rom)
                if !rom.size.is_power_of_two() || rom.size < 2048 || rom.image.len() > rom.size as usize =>
            {
                Err(Errno::EINVAL)
            }
            _ => Ok(()),
        }
    }

    fn lay_out_header(&self, config: &mut ConfigSpace) {
        let Identity { vendor, device, subsystem_vendor, subsystem, revision, class } = self.identity;
        config.set(VENDOR_ID, &vendor.to_le_bytes());
        config.set(DEVICE_ID, &device.to_le_bytes());
        config.set(REVISION_ID, &[revision]);
        config.set(CLASS_CODE, &class.to_le_bytes()[..3]);
        config.set(SUBSYSTEM_VENDOR_ID, &subsystem_vendor.to_le_bytes());
        config.set(SUBSYSTEM_ID, &subsystem.to_le_bytes());
        config.set(HEADER_TYPE, &[u8::from(self.multifunction) << 7]);
        config.set(INTERRUPT_PIN, &[self.interrupt_pin]);
        let mut command = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_SERR;
        if self.intx_disable {
            command |= COMMAND_INTX_DISABLE;
        }
        config.set_writable(COMMAND, &command.to_le_bytes());
        config.set_clearable(STATUS, &STATUS_ERRORS.to_le_bytes());
        config.set_writable(CACHE_LINE_SIZE, &[0xff]);
        config.set_writable(INTERRUPT_LINE, &[0xff]);
        for (bar, at) in self.bars.iter().zip((BAR0..).step_by(4)) {
            let Some(bar) = bar else { continue };
            let mask = !(bar.size - 1);
            let flags = match bar.space {
                BarSpace::Io => BAR_IO,
                BarSpace::Memory32 => 0,
                BarSpace::Memory64 => BAR_64,
            } | if bar.prefetchable { BAR_PREFETCH } else { 0 };
            config.set(at, &flags.to_le_bytes());
            config.set_writable(at, &(mask as u32).to_le_bytes());
            if bar.space == BarSpace::Memory64 {
                config.set_writable(at + 4, &((mask >> 32) as u32).to_le_bytes());
            }
        }
        if let Some(rom) = &self.rom {
            config.set_writable(ROM_BAR, &(!(rom.size - 1) | ROM_ENABLE).to_le_bytes());
        }
    }

    fn lay_out_capabilities(&self, config: &mut ConfigSpace) -> Result<CapabilityMap, Errno> {
        let mut map = CapabilityMap::default();
        let mut used = [false; CONFIG_SIZE];
        used[..HEADER_SIZE].fill(true);
        let mut free = HEADER_SIZE;
        let mut link = CAPABILITY_LIST;
        for cap in &self.capabilities {
            let at = cap.at.map_or(free.next_multiple_of(4), usize::from);
            let end = at + cap.bytes.len();
            if cap.bytes.len() < 2 || at % 4 != 0 || end > CONFIG_SIZE || used[at..end].contains(&true) {
                return Err(Errno::EINVAL);
            }
            used[at..end].fill(true);
            free = free.max(end);
            let offset = at as u16;
            config.set(offset, &cap.bytes);
            config.set(offset + 1, &[0]);
            config.set_writable(offset, &cap.writable);
            config.set_clearable(offset, &cap.clearable);
            config.set(link, &[at as u8]);
            link = offset + 1;
            map.note(&cap.bytes, offset);
        }
        if !self.capabilities.is_empty() {
            config.set_bits(STATUS, STATUS_CAP_LIST, STATUS_CAP_LIST);
        }
        Ok(map)
    }

    fn lay_out_extended(&self, config: &mut ConfigSpace) -> Result<(), Errno> {
        if self.extended_capabilities.is_empty() {
            return Ok(());
        }
        if !self.extended_config {
            return Err(Errno::EINVAL);
        }
        let mut used = vec![false; EXTENDED_CONFIG_SIZE];
        used[..CONFIG_SIZE].fill(true);
        let mut free = CONFIG_SIZE;
        let mut previous: Option<u16> = None;
        for cap in &self.extended_capabilities {
            let at = cap.at.map_or(free.next_multiple_of(4), usize::from);
            let end = at + 4 + cap.bytes.len();
            let first_elsewhere = previous.is_none() && at != CONFIG_SIZE;
            if at % 4 != 0 || end > EXTENDED_CONFIG_SIZE || first_elsewhere || used[at..end].contains(&true) {
                return Err(Errno::EINVAL);
            }
            used[at..end].fill(true);
            free = free.max(end);
            let offset = at as u16;
            let header = u32::from(cap.id) | u32::from(cap.version & 0xf) << 16;
            config.set(offset, &header.to_le_bytes());
            config.set_writable(offset, &[0; 4]);
            config.set(offset + 4, &cap.bytes);
            config.set_writable(offset + 4, &cap.writable);
            if let Some(previous) = previous {
                let linked = config.u32(previous) | u32::from(offset) << 20;
                config.set(previous, &linked.to_le_bytes());
            }
            previous = Some(offset);
        }
        Ok(())
    }
}

impl CapabilityMap {
    /// Returns the bytes of the capability at `at`.
    pub(super) fn len_of(&self, at: u16) -> usize {
        self.extents.iter().find(|(start, _)| *start == at).map_or(0, |(_, len)| *len)
    }

    /// Notes a capability that the hardware acts on, the first of its kind and if all its registers are there.
    fn note(&mut self, bytes: &[u8], at: u16) {
        use super::registers::{
            CAP_ID_AF, CAP_ID_EXPRESS, CAP_ID_MSI, CAP_ID_MSIX, CAP_ID_PM, MSI_FLAGS_64, MSI_FLAGS_MASKABLE,
        };
        let flags =
            u16::from_le_bytes([bytes.get(2).copied().unwrap_or(0), bytes.get(3).copied().unwrap_or(0)]);
        let (place, least) = match bytes[0] {
            CAP_ID_MSI => {
                let wide = if flags & MSI_FLAGS_64 != 0 { 4 } else { 0 };
                let maskable = if flags & MSI_FLAGS_MASKABLE != 0 { 10 } else { 0 };
                (&mut self.msi, 10 + wide + maskable)
            }
            CAP_ID_MSIX => (&mut self.msix, 12),
            CAP_ID_PM => (&mut self.power, 8),
            CAP_ID_EXPRESS => (&mut self.express, if flags & 0xf == 1 { 20 } else { 44 }),
            CAP_ID_AF => (&mut self.advanced, 6),
            _ => return,
        };
        if place.is_none() && bytes.len() >= least {
            *place = Some(at);
            self.extents.push((at, bytes.len()));
        }
    }
}
