//! `IOMMU_IOAS_MAP`, `IOMMU_IOAS_MAP_FILE`: making areas.

use std::sync::Arc;

use vfio_memory::{PAGE_SHIFT, PAGE_SIZE, Prot};
use vfio_uapi::Errno;

use super::Ioas;
use super::account::Payer;
use super::area::Area;
use super::pages::Pages;
use super::source::MapSource;
use super::state::State;
use crate::{Iova, IovaRange};

/// Says where memory is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At this address.
    Fixed(Iova),
    /// Wherever there is room.
    Any,
}

/// Asks for memory to be mapped.
pub struct MapMemory {
    /// The memory.
    pub source: MapSource,
    /// Bytes.
    pub length: u64,
    /// Where devices see it.
    pub place: Place,
    /// What devices may do.
    pub prot: Prot,
    /// Who pays for what gets pinned.
    pub payer: Payer,
}

/// A part of some pages that is about to become an area.
pub(super) struct Window {
    pub(super) pages: Arc<Pages>,
    pub(super) start_byte: u64,
    pub(super) length: u64,
}

impl Ioas {
    /// Maps memory and returns where (`IOMMU_IOAS_MAP`, `IOMMU_IOAS_MAP_FILE`).
    ///
    /// Without a domain nothing is looked at: memory that is not there is noticed when somebody needs it.
    ///
    /// # Errors
    /// `EOVERFLOW` address or offset wrap; `EINVAL` length zero, or not a multiple of the alignment. At an address:
    /// `EINVAL` not aligned; `EOVERFLOW` it wraps; `EINVAL` reserved; `EEXIST` overlaps a mapping. Anywhere:
    /// `EOVERFLOW` too long; `EINVAL` memory not aligned; `ENOSPC`. Then `EINVAL` memory's offset in its page is not
    /// aligned; with domains, `EFAULT` or `EINVAL` memory that is not there, `ENOMEM` over the limit, `EINVAL` neither
    /// read nor write.
    pub fn map(&self, request: MapMemory) -> Result<Iova, Errno> {
        let MapMemory { source, length, place, prot, payer } = request;
        let first = source.first();
        let pages = Arc::new(Pages::new(source, length, prot.contains(Prot::WRITE), payer)?);
        let start_byte = first % PAGE_SIZE;
        self.map_windows(vec![Window { pages, start_byte, length }], length, place, prot)
    }

    /// Maps windows one behind the other.
    pub(super) fn map_windows(
        &self,
        windows: Vec<Window>,
        length: u64,
        place: Place,
        prot: Prot,
    ) -> Result<Iova, Errno> {
        let mut state = self.0.state.write();
        if length == 0 || length & (state.ranges.alignment() - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let range = match place {
            Place::Fixed(iova) => state.check_free(iova, length)?,
            Place::Any => {
                let first = windows.first().ok_or(Errno::EINVAL)?;
                let iova = state.place(first.pages.origin(first.start_byte), length)?;
                state.check_free(iova, length)?
            }
        };
        let areas = state.make_areas(windows, range, prot)?;
        let mut done = Vec::with_capacity(areas.len());
        for area in areas {
            let start = area.range.start();
            if let Err(errno) = state.insert(area) {
                done.into_iter().for_each(|start| state.remove(start));
                return Err(errno);
            }
            done.push(start);
        }
        Ok(range.start())
    }
}

impl State {
    /// Checks that a range can be mapped.
    fn check_free(&self, iova: Iova, length: u64) -> Result<IovaRange, Errno> {
        if iova & (self.ranges.alignment() - 1) != 0 {
            return Err(Errno::EINVAL);
        }
        let range = IovaRange::sized(iova, length).ok_or(Errno::EOVERFLOW)?;
        if self.ranges.is_reserved(range) {
            return Err(Errno::EINVAL);
        }
        if self.areas.first_in(range).is_some() { Err(Errno::EEXIST) } else { Ok(range) }
    }

    /// Lays windows side by side over `range`.
    ///
    /// # Errors
    /// `EPERM` writing what was not mapped for it; `EINVAL` memory's offset in its page is not aligned.
    fn make_areas(&self, windows: Vec<Window>, range: IovaRange, prot: Prot) -> Result<Vec<Area>, Errno> {
        let mut iova = range.start();
        let mut areas = Vec::with_capacity(windows.len());
        for Window { pages, start_byte, length } in windows {
            if prot.contains(Prot::WRITE) && !pages.is_writable() {
                return Err(Errno::EPERM);
            }
            if (start_byte % PAGE_SIZE) & (self.ranges.alignment() - 1) != 0 {
                return Err(Errno::EINVAL);
            }
            let range = IovaRange::sized(iova, length).ok_or(Errno::EOVERFLOW)?;
            let last = start_byte.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;
            if last >> PAGE_SHIFT >= pages.count() {
                return Err(Errno::EOVERFLOW);
            }
            areas.push(Area {
                range,
                pages,
                start_byte,
                prot,
                filled: false,
                accesses: 0,
                locks: 0,
                closing: false,
            });
            iova = iova.wrapping_add(length);
        }
        Ok(areas)
    }
}
