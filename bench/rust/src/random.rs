//! The streams of addresses that every contender answers.

/// Names what a stream looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Any page, any word in it.
    Random,
    /// One page after the other.
    Sequential,
    /// Any of the first 64 pages.
    Hot,
}

/// Makes the next number.
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// Shuffles `0..n` (Fisher–Yates).
pub fn perm(n: u64, mut seed: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..n).collect();
    for i in (1..order.len()).rev() {
        order.swap(i, (splitmix64(&mut seed) % (i as u64 + 1)) as usize);
    }
    order
}

/// A stream over `pages` mappings of `span` bytes from `base` on; both are powers of two.
///
/// The timed loops make their addresses themselves, as a device would; one that reads them from an array would
/// measure the array, too.
#[derive(Clone, Copy)]
pub struct Addresses {
    stream: Stream,
    base: u64,
    pages: u64,
    span: u64,
    pub count: u64,
}

impl Addresses {
    pub fn new(stream: Stream, base: u64, pages: u64, span: u64, count: usize) -> Self {
        assert!(pages.is_power_of_two() && span.is_power_of_two());
        let pages = if stream == Stream::Hot { pages.min(64) } else { pages };
        Self { stream, base, pages, span, count: count as u64 }
    }

    /// Adds up what `answer` says to each address.
    #[inline(always)]
    pub fn sum(self, first: u64, count: u64, mut answer: impl FnMut(u64) -> u64) -> u64 {
        let Self { stream, base, pages, span, .. } = self;
        let mut sum = 0_u64;
        if stream == Stream::Sequential {
            for i in first..first + count {
                sum = sum.wrapping_add(answer(base + (i * 4096 & (pages * span - 1))));
            }
            return sum;
        }
        // The generator only adds up, so any place in the stream can be gone to.
        let seed = if stream == Stream::Hot { 2_u64 } else { 1 };
        let mut state = seed.wrapping_add(first.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for _ in 0..count {
            let r = splitmix64(&mut state);
            sum = sum.wrapping_add(answer(base + (r & (pages - 1)) * span + (r >> 20 & (span - 1) & !7)));
        }
        sum
    }

    /// Lists the addresses.
    pub fn list(self) -> Vec<u64> {
        let mut list = Vec::new();
        self.sum(0, self.count, |iova| {
            list.push(iova);
            0
        });
        list
    }
}
