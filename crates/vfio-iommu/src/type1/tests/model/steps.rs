//! What can happen to a domain.

use proptest::prelude::*;

use super::super::*;
use super::plain::Plain;
use super::{Real, iommu};

/// Pages of the address space that are played with.
pub(super) const PAGES: u64 = 32;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Map {
        flags: u32,
        iova: u64,
        pages: u64,
        from: u64,
    },
    Unmap {
        flags: u32,
        iova: u64,
        pages: u64,
    },
    Attach {
        hw: bool,
    },
    Detach {
        hw: bool,
    },
    Pin {
        iova: u64,
        pages: u64,
        write: bool,
    },
    Unpin {
        iova: u64,
        pages: u64,
    },
    Write {
        iova: u64,
        pages: u64,
    },
    Track {
        on: bool,
    },
    Dirty {
        iova: u64,
        pages: u64,
    },
    /// The process unmaps a page of its own.
    Forget {
        page: u64,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let range = || (0..PAGES, 1_u64..7);
    let flags = prop_oneof![6 => Just(3_u32), 2 => Just(1), 1 => Just(2), 2 => Just(4), 1 => Just(0)];
    let from = 0..RAM_PAGES + 1;
    let unmap_flags = prop_oneof![8 => Just(0_u32), 2 => Just(4), 1 => Just(2), 1 => Just(6)];
    prop_oneof![
        8 => (flags, range(), from).prop_map(|(flags, (iova, pages), from)| Step::Map { flags, iova, pages, from }),
        5 => (unmap_flags, range()).prop_map(|(flags, (iova, pages))| {
            if flags & 2 != 0 { Step::Unmap { flags, iova: 0, pages: 0 } } else { Step::Unmap { flags, iova, pages } }
        }),
        3 => any::<bool>().prop_map(|hw| Step::Attach { hw }),
        1 => any::<bool>().prop_map(|hw| Step::Detach { hw }),
        4 => (range(), any::<bool>()).prop_map(|((iova, pages), write)| Step::Pin { iova, pages, write }),
        2 => range().prop_map(|(iova, pages)| Step::Unpin { iova, pages }),
        2 => range().prop_map(|(iova, pages)| Step::Write { iova, pages }),
        1 => any::<bool>().prop_map(|on| Step::Track { on }),
        3 => range().prop_map(|(iova, pages)| Step::Dirty { iova, pages: pages * 2 }),
        1 => (0..RAM_PAGES).prop_map(|page| Step::Forget { page }),
    ]
}

/// What a step answers: a number, an errno, or a bitmap as a number.
pub(super) type Answer = Result<u64, Errno>;

impl Step {
    pub(super) fn run(&self, real: &Real) -> Answer {
        let Machine { mm, ram, type1 } = &real.machine;
        let size = |pages: u64| pages * PAGE_SIZE;
        match *self {
            Self::Map { flags, iova, pages, from } => {
                let request = MapDma { flags, vaddr: ram + size(from), iova: size(iova), size: size(pages) };
                type1.map_dma(mm, &request).map(|()| 0)
            }
            Self::Unmap { flags, iova, pages } => {
                type1.unmap_dma(&UnmapDma { flags, iova: size(iova), size: size(pages) }, None)
            }
            Self::Attach { hw: true } => type1.attach_hw(GROUP, &iommu()).map(|()| 0),
            Self::Attach { hw: false } => type1.attach_emulated(MDEV_GROUP).map(|()| 0),
            Self::Detach { hw } => {
                type1.detach(if hw { GROUP } else { MDEV_GROUP });
                Ok(0)
            }
            Self::Pin { iova, pages, write } => {
                let prot = if write { Prot::RW } else { Prot::READ };
                let spans = real.mdev.pin_pages(size(iova), pages, prot)?;
                let mut seen = 0;
                for span in spans {
                    for page in 0..span.len / PAGE_SIZE {
                        let mut byte = [0];
                        span.memory.read(span.offset + size(page), &mut byte).unwrap();
                        seen = seen * 256 + u64::from(byte[0]);
                    }
                }
                Ok(seen)
            }
            Self::Unpin { iova, pages } => {
                real.mdev.unpin_pages(size(iova), pages);
                Ok(0)
            }
            // What is written is what was there, so pages keep their numbers.
            Self::Write { iova, pages } => {
                let mut bytes = vec![0; size(pages) as usize - 0x800];
                let copied =
                    real.mdev.read(size(iova), &mut bytes).and_then(|()| real.mdev.write(size(iova), &bytes));
                copied.map(|()| 0).map_err(crate::DmaFault::errno)
            }
            Self::Track { on: true } => type1.dirty_start().map(|()| 0),
            Self::Track { on: false } => type1.dirty_stop().map(|()| 0),
            Self::Dirty { iova, pages } => {
                let mut bitmap = [0x5a; 8];
                let mut target = &mut bitmap[..];
                let query = DirtyQuery { page_size: PAGE_SIZE, size: 8, target: &mut target };
                type1.dirty_get_bitmap(size(iova), size(pages), query)?;
                Ok(u64::from_le_bytes(bitmap))
            }
            Self::Forget { page } => mm.unmap(ram + size(page), PAGE_SIZE).map(|()| 0),
        }
    }

    pub(super) fn predict(&self, plain: &mut Plain) -> Answer {
        match *self {
            Self::Map { flags, iova, pages, from } => plain.map(flags, iova, pages, from),
            Self::Unmap { flags, iova, pages } => plain.unmap(flags, iova, pages),
            Self::Attach { hw: true } => plain.attach_hw(),
            Self::Attach { hw: false } => plain.attach_emulated(),
            Self::Detach { hw } => plain.detach(hw),
            Self::Pin { iova, pages, write } => plain.pin(iova, pages, write),
            Self::Unpin { iova, pages } => plain.unpin(iova, pages),
            Self::Write { iova, pages } => plain.write(iova, pages),
            Self::Track { on } => plain.track(on),
            Self::Dirty { iova, pages } => plain.dirty(iova, pages),
            Self::Forget { page } => {
                plain.missing.insert(page);
                Ok(0)
            }
        }
    }
}
