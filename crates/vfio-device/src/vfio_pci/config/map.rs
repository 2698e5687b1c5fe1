//! Which capability each byte belongs to, and the virtual copy of the registers.

use super::lengths::{extended_length, standard_length};
use crate::pci::PciFunction;
use crate::pci::registers::{
    BAR_COUNT, BAR0, CAP_ID_EXPRESS, CAP_ID_MSI, CAP_ID_PCIX, CAP_ID_PM, CAP_NEXT, CAPABILITY_LIST,
    CONFIG_SIZE, HEADER_SIZE, INTERRUPT_PIN, MSI_FLAGS, PM_CAPS, PM_CAPS_PME_MASK, PM_CTRL,
    PM_CTRL_PME_ENABLE, PM_CTRL_PME_STATUS, ROM_BAR, STATUS, STATUS_CAP_LIST,
};

/// Marks bytes of the header.
pub(super) const ID_BASIC: u8 = 0;
/// Marks bytes that belong to no capability: they are passed through.
pub(super) const ID_UNASSIGNED: u8 = 0xff;
/// Bytes of the smallest capability.
const CAP_STEP: usize = 4;
/// Bits of an extended capability's header that lead to the next one.
const LINK: u32 = 0xffc << 20;

/// Holds what the user sees instead of the hardware's registers.
pub(in crate::vfio_pci) struct VirtualConfig {
    /// The virtual registers.
    pub(super) bytes: Vec<u8>,
    /// The capability that each byte belongs to.
    pub(super) map: Vec<u8>,
    /// Control register of the first MSI capability, which says how long it is.
    pub(super) msi_flags: u16,
    /// BARs were written since their bits were last put in order.
    pub(super) bars_dirty: bool,
    /// What the hardware's BARs and ROM BAR contain.
    pub(super) real_bars: [u32; BAR_COUNT + 1],
    extended: bool,
}

impl VirtualConfig {
    /// Reads a function's registers; `pin` says whether its interrupt line leads anywhere.
    pub(in crate::vfio_pci) fn new(function: &PciFunction, pin: bool) -> Self {
        let size = function.config_size();
        let mut map = vec![ID_UNASSIGNED; size];
        map[..HEADER_SIZE].fill(ID_BASIC);
        let mut real_bars = [0; BAR_COUNT + 1];
        for (bar, at) in real_bars.iter_mut().zip((BAR0..).step_by(4).take(BAR_COUNT).chain([ROM_BAR])) {
            *bar = function.config_u32(at);
        }
        let mut config =
            Self { bytes: vec![0; size], map, msi_flags: 0, bars_dirty: true, real_bars, extended: false };
        config.fill(function, 0, HEADER_SIZE);
        if !pin {
            config.bytes[usize::from(INTERRUPT_PIN)] = 0;
        }
        config.find_standard(function);
        config.find_extended(function);
        config
    }

    fn fill(&mut self, function: &PciFunction, at: usize, len: usize) {
        function.config_read(at as u16, &mut self.bytes[at..at + len]);
    }

    fn mark(&mut self, function: &PciFunction, id: u8, at: usize, len: usize, end: usize) {
        let len = len.min(end - at);
        self.map[at..at + len].fill(id);
        self.fill(function, at, len);
    }

    fn find_standard(&mut self, function: &PciFunction) {
        if function.config_u16(STATUS) & STATUS_CAP_LIST == 0 {
            return;
        }
        let mut link = usize::from(CAPABILITY_LIST);
        let mut at = function.config_u8(CAPABILITY_LIST);
        let mut shown = 0;
        // Capabilities are aligned, which bounds a chain that bites its tail.
        for _ in 0..(CONFIG_SIZE - HEADER_SIZE) / CAP_STEP {
            let pos = u16::from(at);
            if at == 0 {
                break;
            }
            let id = function.config_u8(pos);
            let next = function.config_u8(pos + CAP_NEXT);
            match standard_length(function, id, pos) {
                // Hidden: whoever links to it links to the next one instead.
                0 => self.bytes[link] = next,
                len => {
                    self.mark(function, id, usize::from(at), len, CONFIG_SIZE);
                    self.note(function, id, pos);
                    link = usize::from(pos + CAP_NEXT).min(CONFIG_SIZE - 1);
                    shown += 1;
                }
            }
            at = next;
        }
        if shown == 0 {
            self.bytes[usize::from(STATUS)] &= !(STATUS_CAP_LIST as u8);
        }
    }

    /// Notes what a capability says about others, and clears virtual bits that start as zero.
    fn note(&mut self, function: &PciFunction, id: u8, at: u16) {
        match id {
            CAP_ID_MSI if self.msi_flags == 0 => self.msi_flags = function.config_u16(at + MSI_FLAGS),
            CAP_ID_PM => {
                self.clear_bits(at + PM_CAPS, PM_CAPS_PME_MASK);
                self.clear_bits(at + PM_CTRL, PM_CTRL_PME_ENABLE | PM_CTRL_PME_STATUS);
            }
            CAP_ID_EXPRESS => self.extended |= self.has_extended(function),
            CAP_ID_PCIX if function.config_u16(at + 2) & 0x3000 != 0 => {
                self.extended |= self.has_extended(function);
            }
            _ => {}
        }
    }

    fn has_extended(&self, function: &PciFunction) -> bool {
        self.bytes.len() > CONFIG_SIZE && function.config_u32(CONFIG_SIZE as u16) != 0
    }

    fn clear_bits(&mut self, at: u16, bits: u16) {
        let at = usize::from(at);
        self.set_word(at, self.word(at) & !bits);
    }

    fn find_extended(&mut self, function: &PciFunction) {
        if !self.extended {
            return;
        }
        let size = self.bytes.len();
        let mut previous: Option<usize> = None;
        let mut at = CONFIG_SIZE;
        let mut shown = 0;
        for _ in 0..(size - CONFIG_SIZE) / CAP_STEP {
            if at < CONFIG_SIZE {
                break;
            }
            let header = function.config_u32(at as u16);
            let id = (header & 0xffff) as u16;
            let next = (header >> 20) as usize & 0xffc;
            match (extended_length(function, id, at as u16), previous) {
                (0, Some(previous)) => {
                    self.relink(previous, next);
                    at = next;
                    continue;
                }
                (0, None) => {
                    // The first one cannot be skipped: an anonymous header of four bytes carries the link.
                    self.mark(function, id as u8, at, CAP_STEP, size);
                    self.set_dword(at, header & LINK);
                }
                (len, _) => {
                    self.mark(function, id as u8, at, len, size);
                    shown += 1;
                }
            }
            previous = Some(at);
            at = next;
        }
        if shown == 0 {
            self.set_dword(CONFIG_SIZE, 0);
        }
    }

    fn relink(&mut self, at: usize, next: usize) {
        self.set_dword(at, self.dword(at) & !LINK | (next as u32) << 20);
    }

    /// Returns a virtual register of two bytes; 0 beyond the end, where a truncated capability would have it.
    pub(super) fn word(&self, at: usize) -> u16 {
        self.bytes.get(at..at + 2).map_or(0, |word| u16::from_le_bytes([word[0], word[1]]))
    }

    /// Sets a virtual register of two bytes.
    pub(super) fn set_word(&mut self, at: usize, value: u16) {
        if let Some(word) = self.bytes.get_mut(at..at + 2) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Returns a virtual register of four bytes; 0 beyond the end.
    pub(super) fn dword(&self, at: usize) -> u32 {
        u32::from(self.word(at)) | u32::from(self.word(at + 2)) << 16
    }

    /// Sets a virtual register of four bytes.
    pub(super) fn set_dword(&mut self, at: usize, value: u32) {
        if let Some(dword) = self.bytes.get_mut(at..at + 4) {
            dword.copy_from_slice(&value.to_le_bytes());
        }
    }
}
