//! The memory that areas show: found, pinned and charged once, whoever needs it.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_memory::{AddressSpace, HostSpan, PAGE_SHIFT, PAGE_SIZE};
use vfio_uapi::Errno;

use super::account::Payer;
use super::source::MapSource;
use crate::type1::Ledger;

/// A run of pages that areas of any address space may show (`struct iopt_pages`).
pub(super) struct Pages {
    source: MapSource,
    /// Pages there are.
    count: u64,
    /// They were mapped for writing, and are pinned for it.
    writable: bool,
    held: Mutex<Held>,
}

/// What is pinned, and who pays.
struct Held {
    ledger: Ledger,
    payer: Payer,
}

impl Pages {
    /// Names `len` bytes of `source`; nothing is looked up yet.
    ///
    /// # Errors
    /// `EOVERFLOW` the range wraps; `EINVAL` no bytes.
    pub(super) fn new(source: MapSource, len: u64, writable: bool, payer: Payer) -> Result<Self, Errno> {
        let end = source.first().checked_add(len).ok_or(Errno::EOVERFLOW)?;
        if len == 0 || len > u64::MAX - PAGE_SIZE {
            return Err(Errno::EINVAL);
        }
        let source = source.page_aligned();
        let count = (end - source.first()).div_ceil(PAGE_SIZE);
        Ok(Self { source, count, writable, held: Mutex::new(Held { ledger: Ledger::default(), payer }) })
    }

    /// Returns the address or file offset behind a byte.
    pub(super) fn origin(&self, start_byte: u64) -> u64 {
        self.source.first().wrapping_add(start_byte)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn is_writable(&self) -> bool {
        self.writable
    }

    pub(super) fn is_file(&self) -> bool {
        self.source.is_file()
    }

    /// Pins pages once more and returns their memory, charging those that nobody had pinned.
    ///
    /// # Errors
    /// `EFAULT`, `EINVAL` memory that is not there; then `ENOMEM` over the limit. Nothing is pinned then.
    pub(super) fn pin(&self, pages: Range<u64>) -> Result<Vec<HostSpan>, Errno> {
        let mut held = self.held.lock();
        let mut spans: Vec<HostSpan> = Vec::new();
        let mut fresh = 0;
        let mut at = pages.start;
        for run in held.ledger.pinned_in(pages.clone()).collect::<Vec<_>>() {
            fresh += self.look_up_pages(at..run.start, &mut spans)?;
            held.collect(run.clone(), &mut spans);
            at = run.end;
        }
        fresh += self.look_up_pages(at..pages.end, &mut spans)?;
        held.payer.charge(fresh)?;
        let mut page = pages.start;
        for span in &spans {
            held.ledger.pin(page, span);
            page += span.len >> PAGE_SHIFT;
        }
        Ok(spans)
    }

    /// Takes one pin off each page; those that have none left are given back.
    pub(super) fn unpin(&self, pages: Range<u64>) {
        let mut held = self.held.lock();
        let Held { ledger, payer } = &mut *held;
        let mut freed = 0;
        ledger.unpin(pages, |run| freed += run.end - run.start);
        payer.uncharge(freed);
    }

    /// Returns the memory of pages, all of them pinned.
    pub(super) fn pinned(&self, pages: Range<u64>) -> Vec<HostSpan> {
        let mut spans = Vec::new();
        self.held.lock().collect(pages, &mut spans);
        spans
    }

    /// Tells whether the page of a process at `address` is pinned through these.
    pub(super) fn pins(&self, mm: &Arc<AddressSpace>, address: u64) -> bool {
        let Some(byte) = self.source.byte_of(mm, address) else { return false };
        let page = byte >> PAGE_SHIFT;
        page < self.count && self.held.lock().ledger.count(page..page + 1) > 0
    }

    /// Finds memory for an access that keeps nothing: what is there now or, where the process is gone, what is
    /// pinned.
    ///
    /// # Errors
    /// `EPERM` writing what was not mapped for it; `EFAULT`, `EINVAL` memory that is not there.
    pub(super) fn reach(&self, start_byte: u64, len: u64, write: bool) -> Result<Vec<HostSpan>, Errno> {
        if write && !self.writable {
            return Err(Errno::EPERM);
        }
        self.source.look_up(start_byte, len, write).or_else(|errno| {
            let pages = start_byte >> PAGE_SHIFT..(start_byte + len).div_ceil(PAGE_SIZE);
            let spans = self.pinned(pages.clone());
            let found: u64 = spans.iter().map(|span| span.len).sum();
            if found >> PAGE_SHIFT != pages.end - pages.start {
                return Err(errno);
            }
            Ok(clip(spans, start_byte % PAGE_SIZE, len))
        })
    }

    /// Moves the charge to another process.
    ///
    /// # Errors
    /// `ENOMEM` over its limit; nothing changes then.
    pub(super) fn change_payer(&self, payer: &Payer) -> Result<(), Errno> {
        let mut held = self.held.lock();
        let pinned = held.ledger.count(0..self.count);
        payer.charge(pinned)?;
        held.payer.uncharge(pinned);
        held.payer = payer.clone();
        Ok(())
    }

    /// Returns who pays.
    pub(super) fn payer(&self) -> Payer {
        self.held.lock().payer.clone()
    }

    /// Adds the memory of pages that nobody has pinned; returns how many.
    fn look_up_pages(&self, pages: Range<u64>, spans: &mut Vec<HostSpan>) -> Result<u64, Errno> {
        let count = pages.end.saturating_sub(pages.start);
        if count > 0 {
            let found = self.source.look_up(pages.start << PAGE_SHIFT, count << PAGE_SHIFT, self.writable)?;
            found.into_iter().for_each(|span| push(spans, span));
        }
        Ok(count)
    }
}

impl Held {
    fn collect(&self, pages: Range<u64>, spans: &mut Vec<HostSpan>) {
        for page in pages {
            if let Some(span) = self.ledger.memory_of(page) {
                push(spans, span);
            }
        }
    }
}

fn push(spans: &mut Vec<HostSpan>, span: HostSpan) {
    if !spans.last_mut().is_some_and(|last| last.merge(&span)) {
        spans.push(span);
    }
}

/// Returns the part of `spans` that begins `skip` bytes in and is `len` bytes long.
pub(super) fn clip(spans: Vec<HostSpan>, mut skip: u64, mut len: u64) -> Vec<HostSpan> {
    let mut kept = Vec::with_capacity(spans.len());
    for mut span in spans {
        if skip >= span.len {
            skip -= span.len;
            continue;
        }
        span.offset += skip;
        span.len = (span.len - skip).min(len);
        skip = 0;
        len -= span.len;
        if span.len > 0 {
            kept.push(span);
        }
    }
    kept
}
