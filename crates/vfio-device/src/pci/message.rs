//! Interrupts that a function sends: the line's level, MSI, MSI-X, and how the host enables them.

use vfio_uapi::Errno;

use super::aftermath::Aftermath;
use super::function::{PciFunction, State};
use super::registers::{
    COMMAND, COMMAND_INTX_DISABLE, MSI_FLAGS, MSI_FLAGS_64, MSI_FLAGS_CAPABLE, MSI_FLAGS_ENABLE,
    MSI_FLAGS_MASKABLE, MSI_FLAGS_QUEUE, MSIX_FLAGS, MSIX_FLAGS_ENABLE, MSIX_FLAGS_MASK_ALL,
};

impl PciFunction {
    /// Sets the level that the function puts on its interrupt line.
    pub(super) fn set_line(&self, level: impl FnOnce() -> bool) {
        let aftermath = {
            let mut state = self.state.lock();
            state.line.level = level();
            self.settle(&mut state)
        };
        aftermath.run(self);
    }

    /// Asks for the line's interrupts, or ends that.
    pub fn request_line(&self, requested: bool) -> Aftermath {
        let mut state = self.state.lock();
        state.line.requested = requested;
        self.settle(&mut state)
    }

    /// Has the interrupt controller ignore the line, or listen to it again.
    pub fn mask_line(&self, masked: bool) -> Aftermath {
        let mut state = self.state.lock();
        state.line.masked = masked;
        self.settle(&mut state)
    }

    /// Holds the line down if the function asserts it; tells whether it did (`pci_check_and_mask_intx`).
    pub fn check_and_hold_line(&self) -> bool {
        self.follow_line(true)
    }

    /// Lets the line go if the function does not assert it; tells whether it did so (`pci_check_and_unmask_intx`).
    pub fn check_and_release_line(&self) -> bool {
        self.follow_line(false)
    }

    fn follow_line(&self, level: bool) -> bool {
        let mut state = self.state.lock();
        if state.line.level != level {
            return false;
        }
        let command = state.config.u16(COMMAND) & !COMMAND_INTX_DISABLE;
        let command = if level { command | COMMAND_INTX_DISABLE } else { command };
        state.config.write(COMMAND, &command.to_le_bytes());
        // With the level as it is the line cannot become asserted by this.
        let _nothing = self.settle(&mut state);
        true
    }

    /// Sends MSI `vector`; it waits while masked, and is lost while messages are disabled, the function may not
    /// master the bus, or an error has cut it off.
    ///
    /// # Errors
    /// `EINVAL` the function has no such vector.
    pub(super) fn send_msi(&self, vector: u32) -> Result<(), Errno> {
        let aftermath = {
            let mut state = self.state.lock();
            let at = self.caps.msi.ok_or(Errno::EINVAL)?;
            let flags = state.config.u16(at + MSI_FLAGS);
            if vector >= 1 << ((flags & MSI_FLAGS_CAPABLE) >> 1) {
                return Err(Errno::EINVAL);
            }
            // A function that was granted fewer vectors than it has folds them.
            let granted = 1u32 << ((flags & MSI_FLAGS_QUEUE) >> 4).min(5);
            let vector = vector & (granted - 1);
            if flags & MSI_FLAGS_ENABLE == 0 {
                Aftermath::default()
            } else if flags & MSI_FLAGS_MASKABLE != 0 {
                let pending = state.config.u32(msi_mask(at, flags) + 4) | 1 << vector;
                state.config.set(msi_mask(at, flags) + 4, &pending.to_le_bytes());
                self.settle(&mut state)
            } else {
                self.emit(&mut state, vector)
            }
        };
        aftermath.run(self);
        Ok(())
    }

    /// Sends MSI-X `vector`, as [`send_msi`](Self::send_msi) does for MSI.
    ///
    /// # Errors
    /// `EINVAL` the function has no such vector.
    pub(super) fn send_msix(&self, vector: u32) -> Result<(), Errno> {
        let aftermath = {
            let mut state = self.state.lock();
            let flags = self.msix_flags(&state);
            let table = state.msix.as_mut().ok_or(Errno::EINVAL)?;
            if vector >= table.vectors() {
                return Err(Errno::EINVAL);
            }
            if flags & MSIX_FLAGS_ENABLE == 0 {
                Aftermath::default()
            } else {
                table.set_pending(vector);
                self.settle(&mut state)
            }
        };
        aftermath.run(self);
        Ok(())
    }

    fn emit(&self, state: &mut State, vector: u32) -> Aftermath {
        if !self.messages_pass(state) {
            return Aftermath::default();
        }
        state.messages += 1;
        Aftermath { messages: vec![vector], ..Aftermath::default() }
    }

    /// Takes the messages that waited and may leave now.
    pub(super) fn deliverable(&self, state: &mut State) -> Vec<u32> {
        let mut ready = Vec::new();
        if let Some(at) = self.caps.msi {
            let flags = state.config.u16(at + MSI_FLAGS);
            if flags & MSI_FLAGS_ENABLE != 0 && flags & MSI_FLAGS_MASKABLE != 0 {
                let mask = state.config.u32(msi_mask(at, flags));
                let pending = state.config.u32(msi_mask(at, flags) + 4);
                ready.extend((0..32).filter(|vector| pending & !mask & 1 << vector != 0));
                state.config.set(msi_mask(at, flags) + 4, &(pending & mask).to_le_bytes());
            }
        }
        let flags = self.msix_flags(state);
        if flags & MSIX_FLAGS_ENABLE != 0
            && flags & MSIX_FLAGS_MASK_ALL == 0
            && let Some(table) = &mut state.msix
        {
            ready.extend(table.take_deliverable());
        }
        // A message is a write to memory: without bus mastering, or cut off, it goes nowhere.
        if !ready.is_empty() && !self.messages_pass(state) {
            ready.clear();
        }
        ready
    }

    /// Enables MSI with room for `vectors` messages, and holds the line down, as the host does.
    pub fn enable_msi(&self, vectors: u32) -> Aftermath {
        let mut state = self.state.lock();
        if let Some(at) = self.caps.msi {
            let flags = state.config.u16(at + MSI_FLAGS) & !MSI_FLAGS_QUEUE;
            let queue = (vectors.max(1).next_power_of_two().ilog2() as u16) << 4;
            state.config.write(at + MSI_FLAGS, &(flags | queue | MSI_FLAGS_ENABLE).to_le_bytes());
            state.config.set_bits(COMMAND, COMMAND_INTX_DISABLE, COMMAND_INTX_DISABLE);
        }
        self.settle(&mut state)
    }

    /// Enables MSI-X with every vector masked, and holds the line down, as the host does.
    pub fn enable_msix(&self) -> Aftermath {
        let mut state = self.state.lock();
        if let Some(at) = self.caps.msix {
            let flags = state.config.u16(at + MSIX_FLAGS) & !MSIX_FLAGS_MASK_ALL;
            if let Some(table) = &mut state.msix {
                (0..table.vectors()).for_each(|vector| table.set_masked(vector, true));
            }
            state.config.write(at + MSIX_FLAGS, &(flags | MSIX_FLAGS_ENABLE).to_le_bytes());
            state.config.set_bits(COMMAND, COMMAND_INTX_DISABLE, COMMAND_INTX_DISABLE);
        }
        self.settle(&mut state)
    }

    /// Masks or unmasks an MSI-X vector in the table.
    pub fn mask_msix(&self, vector: u32, masked: bool) -> Aftermath {
        let mut state = self.state.lock();
        if let Some(table) = &mut state.msix {
            table.set_masked(vector, masked);
        }
        self.settle(&mut state)
    }

    /// Disables MSI and MSI-X and lets the line go, as the host does.
    pub fn disable_messages(&self) -> Aftermath {
        let mut state = self.state.lock();
        if let Some(at) = self.caps.msi {
            let flags = state.config.u16(at + MSI_FLAGS) & !MSI_FLAGS_ENABLE;
            state.config.write(at + MSI_FLAGS, &flags.to_le_bytes());
        }
        if let Some(at) = self.caps.msix {
            let flags = state.config.u16(at + MSIX_FLAGS) & !MSIX_FLAGS_ENABLE;
            state.config.write(at + MSIX_FLAGS, &flags.to_le_bytes());
        }
        state.config.set_bits(COMMAND, COMMAND_INTX_DISABLE, 0);
        self.settle(&mut state)
    }
}

/// Returns where the mask bits of a maskable MSI capability lie; the pending bits follow.
fn msi_mask(at: u16, flags: u16) -> u16 {
    if flags & MSI_FLAGS_64 != 0 { at + 16 } else { at + 12 }
}
