//! The I/O address spaces of iommufd, and what is attached to them.

#![expect(clippy::too_many_arguments, reason = "they are those of the request")]

mod access;
mod domain;
mod nested;
mod port;
mod queues;
mod virtual_iommu;

use std::panic::RefUnwindSafe;
use std::sync::Arc;

use napi::bindgen_prelude::BigInt;
use napi_derive::napi;
use vfio_iommu::IovaRange;
use vfio_iommu::ioas::{Accounting, DirtyRequest, Ioas, MapMemory, MapSource, Payer, Place, Reserver};
use vfio_iommu::type1::{BitmapTarget, UserBitmap};
use vfio_memory::{AddressSpace, Prot};
use vfio_uapi::Errno;

use crate::errno::{Result, out_of_range, throw};
use crate::handles;
use crate::js_bytes::JsBytes;
use crate::numbers::u64;
use domain::NativePagingDomain;

/// An I/O address space. Ranges cross as pairs of first and last address.
#[napi]
pub struct NativeIoas {
    pub(crate) ioas: Ioas,
}

impl RefUnwindSafe for NativeIoas {}

/// What an unmap came to.
#[napi(object, object_from_js = false)]
pub struct Unmapped {
    /// Bytes unmapped, before a refusal too.
    pub bytes: BigInt,
    /// Zero, or a negated errno.
    pub status: i32,
}

/// How a mapping is to be made.
#[napi(object, object_to_js = false)]
pub struct Mapping {
    /// Handle of the address space of the process that maps, and pays.
    pub mm: u32,
    /// Charge the process rather than its user.
    pub charge_process: bool,
    /// 1 for reading, 2 for writing.
    pub prot: u32,
    /// Bytes.
    pub length: BigInt,
    /// Where; undefined leaves the choice.
    pub iova: Option<BigInt>,
}

/// Takes an address space by its handle.
pub(crate) fn address_space(handle: u32) -> Result<Arc<AddressSpace>> {
    let object = handles::get(handle).map_err(throw)?;
    Ok(object.address_space().map_err(throw)?.clone())
}

fn accounting(charge_process: bool) -> Accounting {
    if charge_process { Accounting::Process } else { Accounting::User }
}

fn prot(bits: u32) -> Prot {
    Prot::from_bits_truncate((bits & 3) as u8)
}

/// Takes pairs of first and last addresses.
fn ranges(pairs: &[BigInt]) -> Result<Vec<IovaRange>> {
    let range = |pair: &[BigInt]| match pair {
        [start, last] => {
            IovaRange::new(u64(start, "start")?, u64(last, "last")?).ok_or_else(|| throw(Errno::EINVAL))
        }
        _ => Err(out_of_range("ranges.length")),
    };
    pairs.chunks(2).map(range).collect()
}

fn place(iova: Option<&BigInt>) -> Result<Place> {
    Ok(match iova {
        Some(iova) => Place::Fixed(u64(iova, "iova")?),
        None => Place::Any,
    })
}

fn unmapped(result: std::result::Result<u64, (Errno, u64)>) -> Unmapped {
    match result {
        Ok(bytes) => Unmapped { bytes: bytes.into(), status: 0 },
        Err((errno, bytes)) => Unmapped { bytes: bytes.into(), status: -errno.code() },
    }
}

fn reserver(device: Option<u32>) -> Reserver {
    device.map_or(Reserver::Nobody, |device| Reserver::Device(device.into()))
}

impl NativeIoas {
    fn map_source(&self, source: MapSource, mm: &Arc<AddressSpace>, mapping: &Mapping) -> Result<BigInt> {
        let request = MapMemory {
            source,
            length: u64(&mapping.length, "length")?,
            place: place(mapping.iova.as_ref())?,
            prot: prot(mapping.prot),
            payer: Payer::new(mm, accounting(mapping.charge_process)),
        };
        Ok(self.ioas.map(request).map_err(throw)?.into())
    }
}

#[napi]
impl NativeIoas {
    /// Makes an address space with nothing mapped.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        Self { ioas: Ioas::new() }
    }

    /// Maps memory of a process; returns where.
    #[napi(catch_unwind)]
    pub fn map(&self, mapping: Mapping, address: BigInt) -> Result<BigInt> {
        let mm = address_space(mapping.mm)?;
        let source = MapSource::User(mm.clone(), u64(&address, "address")?);
        self.map_source(source, &mm, &mapping)
    }

    /// Maps a file from an offset on; undefined memory is a file without any.
    #[napi(catch_unwind)]
    pub fn map_file(&self, mapping: Mapping, memory: Option<u32>, start: BigInt) -> Result<BigInt> {
        let mm = address_space(mapping.mm)?;
        let memory = match memory {
            Some(handle) => Some(handles::get(handle).map_err(throw)?.memory().map_err(throw)?.clone()),
            None => None,
        };
        self.map_source(MapSource::File(memory, u64(&start, "start")?), &mm, &mapping)
    }

    /// Maps what another space shows; returns where.
    #[napi(catch_unwind)]
    pub fn copy_from(
        &self,
        source: &NativeIoas,
        iova: BigInt,
        length: BigInt,
        at: Option<BigInt>,
        prot_bits: u32,
    ) -> Result<BigInt> {
        let (iova, length) = (u64(&iova, "iova")?, u64(&length, "length")?);
        let place = place(at.as_ref())?;
        let copied = self.ioas.copy_from(&source.ioas, iova, length, place, prot(prot_bits));
        Ok(copied.map_err(throw)?.into())
    }

    /// Unmaps the areas of a range.
    #[napi(catch_unwind)]
    pub fn unmap(&self, iova: BigInt, length: BigInt) -> Result<Unmapped> {
        Ok(unmapped(self.ioas.unmap(u64(&iova, "iova")?, u64(&length, "length")?)))
    }

    /// Unmaps everything.
    #[napi(catch_unwind)]
    pub fn unmap_all(&self) -> Result<Unmapped> {
        Ok(unmapped(self.ioas.unmap_all()))
    }

    /// Cuts areas at both ends of a range, where they can be cut.
    #[napi(catch_unwind)]
    pub fn cut(&self, iova: BigInt, length: BigInt) -> Result<()> {
        self.ioas.cut(u64(&iova, "iova")?, u64(&length, "length")?).map_err(throw)
    }

    /// Lists the ranges that are not reserved.
    #[napi(catch_unwind)]
    pub fn usable(&self) -> Result<Vec<BigInt>> {
        let (ranges, _) = self.ioas.iova_ranges();
        Ok(ranges.into_iter().flat_map(|range| [range.start().into(), range.last().into()]).collect())
    }

    /// Returns what every mapping is a multiple of.
    #[napi(catch_unwind)]
    pub fn alignment(&self) -> Result<BigInt> {
        Ok(self.ioas.iova_ranges().1.into())
    }

    /// Says where IOVAs may be chosen.
    #[napi(catch_unwind)]
    pub fn allow(&self, pairs: Vec<BigInt>) -> Result<()> {
        self.ioas.allow(ranges(&pairs)?).map_err(throw)
    }

    /// Reserves ranges for a device, or for good.
    #[napi(catch_unwind)]
    pub fn reserve(&self, pairs: Vec<BigInt>, device: Option<u32>) -> Result<()> {
        self.ioas.reserve(&ranges(&pairs)?, reserver(device)).map_err(throw)
    }

    /// Takes back what a device has reserved.
    #[napi(catch_unwind)]
    pub fn unreserve(&self, device: u32) -> Result<()> {
        self.ioas.unreserve(reserver(Some(device)));
        Ok(())
    }

    /// Tells whether mappings are joined into large pages.
    #[napi(catch_unwind)]
    pub fn large_pages(&self) -> Result<bool> {
        Ok(self.ioas.large_pages())
    }

    /// Has mappings be joined into large pages or not.
    #[napi(catch_unwind)]
    pub fn set_large_pages(&self, large: bool) -> Result<()> {
        self.ioas.set_large_pages(large).map_err(throw)
    }

    /// Returns the page sizes that all domains share.
    #[napi(catch_unwind)]
    pub fn pgsizes(&self) -> Result<BigInt> {
        Ok(self.ioas.pgsizes().into())
    }

    /// Adds a page table that mirrors the space.
    #[napi(catch_unwind)]
    pub fn add_domain(&self, domain: &NativePagingDomain) -> Result<()> {
        self.ioas.add_domain(&domain.domain).map_err(throw)
    }

    /// Takes a page table out.
    #[napi(catch_unwind)]
    pub fn remove_domain(&self, domain: &NativePagingDomain) -> Result<()> {
        self.ioas.remove_domain(&domain.domain);
        Ok(())
    }

    /// Tells whether everything mapped is files' memory.
    #[napi(catch_unwind)]
    pub fn is_all_files(&self) -> Result<bool> {
        Ok(self.ioas.is_all_files())
    }

    /// Has a process pay for everything from now on.
    #[napi(catch_unwind)]
    pub fn change_process(&self, mm: u32, charge_process: bool) -> Result<()> {
        self.ioas.change_process(&address_space(mm)?, accounting(charge_process)).map_err(throw)
    }

    /// Finds host memory: its address, and how many bytes are contiguous.
    #[napi(catch_unwind)]
    pub fn physical(&self, iova: BigInt, length: BigInt) -> Result<Vec<BigInt>> {
        let found = self.ioas.physical(u64(&iova, "iova")?, u64(&length, "length")?);
        let (host, length) = found.map_err(throw)?;
        Ok(vec![host.into(), length.into()])
    }

    /// Starts or stops telling which pages get written.
    #[napi(catch_unwind)]
    pub fn set_dirty_tracking(&self, domain: &NativePagingDomain, enable: bool) -> Result<()> {
        self.ioas.set_dirty_tracking(&domain.domain, enable).map_err(throw)
    }

    /// Sets the bits of written pages in a bitmap of a process.
    #[napi(catch_unwind)]
    pub fn dirty_bitmap_to(
        &self,
        domain: &NativePagingDomain,
        iova: BigInt,
        length: BigInt,
        page_size: BigInt,
        clear: bool,
        mm: u32,
        address: BigInt,
    ) -> Result<()> {
        let mm = address_space(mm)?;
        let mut target = UserBitmap { mm: &mm, address: u64(&address, "address")? };
        self.dirty(domain, [&iova, &length, &page_size], clear, &mut target)
    }

    /// Returns the bits of written pages, in `size` bytes.
    #[napi(catch_unwind)]
    pub fn dirty_bitmap(
        &self,
        domain: &NativePagingDomain,
        iova: BigInt,
        length: BigInt,
        page_size: BigInt,
        clear: bool,
        size: u32,
    ) -> Result<JsBytes> {
        let mut bytes = vec![0; size as usize];
        let mut target: &mut [u8] = &mut bytes;
        self.dirty(domain, [&iova, &length, &page_size], clear, &mut target)?;
        Ok(bytes.into())
    }

    /// Marks bytes as written.
    #[napi(catch_unwind)]
    pub fn mark_dirty(&self, domain: &NativePagingDomain, iova: BigInt, length: BigInt) -> Result<()> {
        let range = IovaRange::sized(u64(&iova, "iova")?, u64(&length, "length")?);
        self.ioas.mark_dirty(&domain.domain, range.ok_or_else(|| throw(Errno::EINVAL))?);
        Ok(())
    }

    /// Tells whether written pages are being told of.
    #[napi(catch_unwind)]
    pub fn is_tracking(&self, domain: &NativePagingDomain) -> Result<bool> {
        Ok(domain.domain.is_tracking())
    }

    /// Compares what a domain maps with memory of a process.
    #[napi(catch_unwind)]
    pub fn check_map(
        &self,
        domain: &NativePagingDomain,
        iova: BigInt,
        length: BigInt,
        mm: u32,
        address: BigInt,
    ) -> Result<()> {
        let range = IovaRange::sized(u64(&iova, "iova")?, u64(&length, "length")?);
        let range = range.ok_or_else(|| throw(Errno::EINVAL))?;
        let mm = address_space(mm)?;
        self.ioas.check_map(&domain.domain, range, &mm, u64(&address, "address")?).map_err(throw)
    }

    /// Names what pins a page of a process; spaces that share pages name the same.
    #[napi(catch_unwind)]
    pub fn pinners(&self, mm: u32, address: BigInt) -> Result<Vec<BigInt>> {
        let pinners = self.ioas.pinners(&address_space(mm)?, u64(&address, "address")?);
        Ok(pinners.into_iter().map(|pinner| BigInt::from(pinner as u64)).collect())
    }

    /// Returns the number of areas.
    #[napi(catch_unwind)]
    pub fn areas(&self) -> Result<u32> {
        Ok(u32::try_from(self.ioas.area_count()).unwrap_or(u32::MAX))
    }
}

impl NativeIoas {
    fn dirty(
        &self,
        domain: &NativePagingDomain,
        [iova, length, page_size]: [&BigInt; 3],
        clear: bool,
        target: &mut dyn BitmapTarget,
    ) -> Result<()> {
        let request = DirtyRequest {
            iova: u64(iova, "iova")?,
            length: u64(length, "length")?,
            page_size: u64(page_size, "pageSize")?,
            clear,
            target,
        };
        self.ioas.dirty_bitmap(&domain.domain, request).map_err(throw)
    }
}
