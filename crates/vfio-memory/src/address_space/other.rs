//! Address spaces that stand for a process of the operating system.

use std::sync::Arc;

use vfio_uapi::Errno;

use super::{AddressSpace, Areas, Extensions};
use crate::{LockedMemory, PAGE_SHIFT, PAGE_SIZE, Process};
use parking_lot::RwLock;

impl AddressSpace {
    /// Makes an address space of what a process has mapped. Nothing can be mapped or locked there from here: `EOPNOTSUPP`.
    ///
    /// # Errors
    /// `ESRCH` it has ended.
    pub fn of_process(process: Process) -> Result<Arc<Self>, Errno> {
        let limits = process.limits()?;
        Ok(Arc::new(Self {
            areas: RwLock::new(Areas::new(PAGE_SIZE)),
            locked: LockedMemory::with_page_shift(limits, PAGE_SHIFT),
            page_shift: PAGE_SHIFT,
            extensions: Extensions::default(),
            process: Some(process),
        }))
    }

    /// Returns the process that it stands for, if it does.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }
}
