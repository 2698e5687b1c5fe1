//! `IOMMU_IOAS_COPY`: showing the same pages a second time; and moving the charge for them.

use std::sync::Arc;

use vfio_memory::{AddressSpace, Prot};
use vfio_uapi::Errno;

use super::Ioas;
use super::account::{Accounting, Payer};
use super::map::{Place, Window};
use crate::{Iova, IovaRange};

impl Ioas {
    /// Maps what `source` shows at `iova` here, too, and returns where (`IOMMU_IOAS_COPY`).
    ///
    /// The pages are shared: they are pinned and charged once. The range may span areas that touch.
    ///
    /// # Errors
    /// `EINVAL` length zero; `EOVERFLOW` the range wraps; `ENOENT` a hole in it; `EPERM` writing what was not mapped
    /// for it; otherwise as for [`map`](Self::map).
    pub fn copy_from(
        &self,
        source: &Self,
        iova: Iova,
        length: u64,
        place: Place,
        prot: Prot,
    ) -> Result<Iova, Errno> {
        let windows = source.windows(iova, length)?;
        self.map_windows(windows, length, place, prot)
    }

    fn windows(&self, iova: Iova, length: u64) -> Result<Vec<Window>, Errno> {
        if length == 0 {
            return Err(Errno::EINVAL);
        }
        let range = IovaRange::sized(iova, length).ok_or(Errno::EOVERFLOW)?;
        let state = self.0.state.read();
        let mut windows = Vec::new();
        state.areas.walk(range, |area, part| {
            let start_byte = area.byte_at(part.start());
            windows.push(Window { pages: Arc::clone(&area.pages), start_byte, length: part.size() });
            Ok(())
        })?;
        Ok(windows)
    }

    /// Tells whether everything mapped is files' memory, which any process can pay for.
    #[must_use]
    pub fn is_all_files(&self) -> bool {
        self.0.state.read().areas.iter().all(|area| area.pages.is_file())
    }

    /// Has `mm` pay for everything from now on (`IOMMU_IOAS_CHANGE_PROCESS`).
    ///
    /// # Errors
    /// `ENOMEM` over its limit; nothing changes then.
    pub fn change_process(&self, mm: &Arc<AddressSpace>, accounting: Accounting) -> Result<(), Errno> {
        let payer = Payer::new(mm, accounting);
        let state = self.0.state.write();
        let mut moved = Vec::new();
        for area in state.areas.iter() {
            let before = area.pages.payer();
            if Arc::ptr_eq(before.mm(), mm) {
                continue;
            }
            if let Err(errno) = area.pages.change_payer(&payer) {
                for (pages, before) in moved.into_iter().rev() {
                    let pages: &Arc<super::pages::Pages> = pages;
                    // It was charged there a moment ago; where that has changed, the new payer keeps it.
                    let _ = pages.change_payer(&before);
                }
                return Err(errno);
            }
            moved.push((&area.pages, before));
        }
        Ok(())
    }
}
