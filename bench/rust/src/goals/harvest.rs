//! P6: which pages are dirty.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use vfio_iommu::type1::DirtyQuery;
use vm_memory::bitmap::AtomicBitmap;

use super::pins::mediated;
use crate::clock::time;
use crate::contest::{Contest, Outcome};
use crate::goal::{Effort, Goal};
use crate::layout::reserve;
use crate::random::splitmix64;

/// Where a device writes: every so many pages, at random, so that `per_mille` of a thousand are dirty.
fn dirty_pages(pages: u64, per_100k: u64) -> Vec<u64> {
    let mut state = 7;
    (0..pages * per_100k / 100_000).map(|_| splitmix64(&mut state) % pages).collect()
}

fn digest(words: impl Iterator<Item = u64>) -> u64 {
    words.zip(0_u64..).fold(0, |sum, (word, index)| sum.wrapping_add(word.wrapping_mul(index | 1)))
}

fn contest(effort: Effort, name: &str, size: u64, per_100k: u64) -> Outcome {
    let pages = size / 4096;
    let dirty = dirty_pages(pages, per_100k);
    let memory = reserve(size, libc::PROT_READ | libc::PROT_WRITE);
    let (type1, space) = mediated(size, memory);
    type1.dirty_start().expect("a bitmap can tell");
    let (dirty, type1, space) = (&dirty, &type1, &*space);

    let mut contest = Contest::new(name, 1);
    let mut bitmap = vec![0_u8; (pages / 8) as usize];
    contest.add_timed("vfio, bitmap", move || {
        dirty.iter().for_each(|page| space.write(page << 12, &[1]).expect("it is mapped"));
        let (_, took) = time(|| {
            let query = DirtyQuery { page_size: 4096, size: pages / 8, target: &mut &mut bitmap[..] };
            type1.dirty_get_bitmap(0, size, query).expect("it is tracked");
        });
        let words = bitmap.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        (digest(words), took)
    });
    contest.add_timed("vfio, ranges", move || {
        dirty.iter().for_each(|page| space.write(page << 12, &[1]).expect("it is mapped"));
        let mut sum = 0_u64;
        let (ranges, took) = time(|| type1.dirty_take_ranges(0, size).expect("it is tracked"));
        for range in ranges {
            for page in range.start() >> 12..=range.last() >> 12 {
                sum = sum.wrapping_add((1_u64 << (page % 64)).wrapping_mul(page / 64 | 1));
            }
        }
        (sum, took)
    });
    let peer = AtomicBitmap::new(size as usize, NonZeroUsize::new(4096).expect("not zero"));
    contest.add_timed("vm-memory get_and_reset", move || {
        dirty.iter().for_each(|page| peer.set_bit(*page as usize));
        let (words, took) = time(|| peer.get_and_reset());
        (digest(words.into_iter()), took)
    });
    let flat: Vec<AtomicU64> = (0..pages / 64).map(|_| AtomicU64::new(0)).collect();
    contest.add_timed("flat scan", move || {
        dirty.iter().for_each(|page| {
            flat[(page / 64) as usize].fetch_or(1 << (page % 64), Ordering::Relaxed);
        });
        let (found, took) = time(|| {
            let mut found = Vec::new();
            for (word, index) in flat.iter().zip(0_u64..) {
                if word.load(Ordering::Relaxed) != 0 {
                    found.push((index, word.swap(0, Ordering::AcqRel)));
                }
            }
            found
        });
        let sum = found.iter().fold(0, |sum: u64, (at, word)| sum.wrapping_add(word.wrapping_mul(at | 1)));
        (sum, took)
    });
    contest.run(effort.rounds)
}

pub fn run(effort: Effort) -> Goal {
    let mut goal = Goal::new("P6", "harvest of dirty pages");
    for (name, per_100k) in
        [("64 GiB, 0.01 % dirty", 10), ("64 GiB, 0.1 % dirty", 100), ("64 GiB, 1 % dirty", 1000)]
    {
        let outcome = contest(effort, name, 64 << 30, per_100k);
        if per_100k <= 100 {
            let ratio = outcome.ratio("vm-memory get_and_reset", "vfio, bitmap");
            goal.at_least(&format!("{name}: vm-memory get_and_reset /"), ratio, 4.0);
        }
        goal.contest(&outcome);
    }
    let clean = contest(effort, "1 TiB, clean", 1 << 40, 0);
    goal.at_least("1 TiB clean: flat scan / ranges", clean.ratio("flat scan", "vfio, ranges"), 10.0);
    let bitmap = clean.ratio("flat scan", "vfio, bitmap").unwrap_or(f64::NAN);
    goal.note(format!("1 TiB clean, when all 32 MiB of bitmap must be written: {bitmap:.2} times the scan"));
    goal.contest(&clean);
    goal
}
