//! P4: copies by DMA from fragmented memory.

use std::cell::RefCell;
use std::ptr;

use vfio_iommu::{DmaSpace, IoPageTable};
use vfio_memory::copy;
use vm_memory::iommu::{Error, Iommu, IommuMemory, Iotlb, IotlbIterator};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, Permissions};

use crate::contest::{Contest, Outcome};
use crate::goal::{Effort, Goal};
use crate::layout::Layout;
use crate::peers::{Tlb, Translate};
use crate::random::splitmix64;

/// Where the fragments lie: in 1,024 pages of A (4 MiB), so that memory itself does not hide the difference.
const PAGES: u64 = 1024;

#[derive(Debug)]
struct Mmu(Iotlb);

impl Iommu for Mmu {
    type IotlbGuard<'a> = &'a Iotlb;

    fn translate(
        &self,
        iova: GuestAddress,
        length: usize,
        access: Permissions,
    ) -> Result<IotlbIterator<&Iotlb>, Error> {
        Iotlb::lookup(&self.0, iova, length, access)
            .map_err(|_| Error::IommuMisconfigured { reason: "a miss".to_owned() })
    }
}

/// The same gigabyte, shuffled the same way, behind vm-memory's IOMMU.
fn vm_memory(layout: &Layout) -> IommuMemory<GuestMemoryMmap<()>, Mmu> {
    let backend = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 30)]).expect("1 GiB");
    let mut tlb = Tlb::default();
    for (iova, host) in layout.mappings() {
        tlb.map(iova, 4096, host - layout.first());
        if (iova - layout.base) / 4096 < PAGES {
            backend.write_slice(&pattern(iova), GuestAddress(host - layout.first())).expect("it is there");
        }
    }
    IommuMemory::new(backend, Mmu(tlb.0), true, ())
}

fn pattern(iova: u64) -> Vec<u8> {
    let mut state = iova;
    (0..512).flat_map(|_| splitmix64(&mut state).to_le_bytes()).collect()
}

/// Reads `count` times `size` bytes, each at its own address, into one buffer.
fn contest(
    effort: Effort,
    layout: &Layout,
    table: &IoPageTable,
    peer: &IommuMemory<GuestMemoryMmap<()>, Mmu>,
    size: usize,
) -> Outcome {
    // The list itself stays near the processor, as a ring of descriptors does: twice the memory it leads to.
    let total = effort.ops(64 << 20).min(8 << 20).max(2 * size);
    let count = total / size;
    let room = PAGES * 4096 - size as u64;
    let mut state = 1;
    let align = if size < 4096 { 64 } else { 4096 };
    let iovas: Vec<u64> =
        (0..count).map(|_| layout.base + splitmix64(&mut state) % (room + 1) / align * align).collect();
    // A request is a list of fragments, which a device reads in one go.
    let at_once = (65_536 / size).clamp(1, 1024);
    let segments: Vec<[u64; 2]> = iovas.iter().map(|iova| [*iova, size as u64]).collect();
    let pointers: Vec<(*const u8, usize)> =
        iovas.iter().flat_map(|iova| pieces(layout, *iova, size)).collect();
    let per_request = pointers.len() / count;
    let (iovas, segments, pointers) = (&iovas, &segments, &pointers);
    // One page-aligned buffer for all: where a copy ends matters as much as how it is found.
    let landing = RefCell::new(vec![0_u8; size * at_once + 4096]);
    let skip = landing.borrow().as_ptr().align_offset(4096);
    let landing = &landing;
    let mut contest = Contest::new(&format!("copy {}", name(size)), count);
    let mut add = |name: &str, run: &'static dyn Fn(&Case<'_>, &mut [u8])| {
        let case = Case { table, peer, iovas, segments, pointers, size, at_once, per_request };
        contest.add(name, move || {
            let into = &mut landing.borrow_mut()[skip..skip + size * at_once];
            run(&case, into);
            into.chunks_exact(8).fold(0, |sum: u64, word| {
                sum.wrapping_add(u64::from_le_bytes(word.try_into().expect("eight bytes")))
            })
        });
    };
    add("vfio", &|case, into| {
        for request in case.segments.chunks(case.at_once) {
            case.table.read_batch(request, into).expect("it is mapped");
        }
    });
    // What a program does that knows where everything lies: a memcpy for each fragment.
    add("known pointers", &|case, into| scatter(case, into, ptr::copy_nonoverlapping));
    add("known pointers, our copy", &|case, into| scatter(case, into, copy::read));
    add("vfio, a call each", &|case, into| {
        let space: &dyn DmaSpace = case.table;
        for (i, iova) in case.iovas.iter().enumerate() {
            let at = i % case.at_once * case.size;
            space.read(*iova, &mut into[at..at + case.size]).expect("it is mapped");
        }
    });
    add("vm-memory IommuMemory", &|case, into| {
        for (i, iova) in case.iovas.iter().enumerate() {
            let at = i % case.at_once * case.size;
            case.peer.read_slice(&mut into[at..at + case.size], GuestAddress(*iova)).expect("it is mapped");
        }
    });
    contest.run(effort.rounds)
}

/// Copies the fragments from where they lie.
#[inline(always)]
fn scatter(case: &Case<'_>, into: &mut [u8], copy: unsafe fn(*const u8, *mut u8, usize)) {
    for request in case.pointers.chunks(case.at_once * case.per_request) {
        let mut at = into.as_mut_ptr();
        for (from, len) in request {
            // SAFETY: the pieces were computed from the layout, whose memory is mapped; `into` holds them.
            unsafe {
                copy(*from, at, *len);
                at = at.add(*len);
            }
        }
    }
}

/// What a contender gets.
struct Case<'a> {
    table: &'a IoPageTable,
    peer: &'a IommuMemory<GuestMemoryMmap<()>, Mmu>,
    iovas: &'a [u64],
    segments: &'a [[u64; 2]],
    pointers: &'a [(*const u8, usize)],
    size: usize,
    at_once: usize,
    per_request: usize,
}

/// Lists the host pieces of an access, page by page.
fn pieces(layout: &Layout, iova: u64, size: usize) -> Vec<(*const u8, usize)> {
    let first = iova / 4096;
    let last = (iova + size as u64 - 1) / 4096;
    let piece = |page: u64| {
        let start = iova.max(page * 4096);
        let end = (iova + size as u64).min((page + 1) * 4096);
        let host = layout.hosts[(page - layout.base / 4096) as usize] + start % 4096;
        (ptr::with_exposed_provenance(host as usize), (end - start) as usize)
    };
    (first..=last).map(piece).collect()
}

fn name(size: usize) -> String {
    match size {
        1024.. => format!("{} KiB", size / 1024),
        _ => format!("{size} B"),
    }
}

pub fn run(effort: Effort) -> Goal {
    let mut goal = Goal::new("P4", "DMA copy of memory in fragments of 4 KiB");
    let layout = Layout::a();
    for (iova, host) in layout.mappings().take(PAGES as usize) {
        layout.memory().write(host - layout.first(), &pattern(iova)).expect("it is there");
    }
    let (table, peer) = (layout.table(), vm_memory(&layout));
    for size in [64, 4096, 65_536, 2 << 20] {
        let outcome = contest(effort, &layout, &table, &peer, size);
        let limit = if size < 4096 { 0.9 } else { 0.97 };
        let ratio = outcome.ratio("known pointers", "vfio");
        goal.at_least(&format!("{}: known pointers /", name(size)), ratio, limit);
        if size == 64 {
            goal.at_least("64 B: vm-memory /", outcome.ratio("vm-memory IommuMemory", "vfio"), 5.0);
            let single = outcome.ratio("known pointers", "vfio, a call each").unwrap_or(f64::NAN);
            goal.note(format!("64 B with a call, and an epoch, for each: {single:.2} of known pointers"));
        }
        goal.contest(&outcome);
    }
    goal
}
