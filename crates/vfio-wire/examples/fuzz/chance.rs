//! Chance from a seed.

/// splitmix64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Below `end`, as an offset or an index.
    pub(crate) fn index(&mut self, end: usize) -> u64 {
        self.below(end) as u64
    }

    /// Once in so many times.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A size or an address in which programs like to be wrong, near `likely` most of the time.
    pub(crate) fn number(&mut self, likely: u64) -> u64 {
        match self.below(32) {
            0..28 => likely,
            28 => likely.wrapping_add(self.pick(&[1, 2, 4, 8, 0xfff, 0x1000, u64::MAX, u64::MAX - 7])),
            29 => self.pick(&[0, 1, 15, 16, 4095, 4096, 1 << 20, 1 << 31, 1 << 32, 1 << 63]),
            30 => self.pick(&[u64::MAX, u64::MAX - 4095, !4095, 0xffff_ffff, 0xffff_f000]),
            _ => self.next() >> self.below(64),
        }
    }

    /// Bytes, up to `most`.
    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let len = self.below(most + 1);
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Changes some bytes of a message, or its length.
    pub(crate) fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            match self.below(4) {
                0 => bytes.truncate(self.below(bytes.len() + 1)),
                1 => bytes.extend(self.bytes(24)),
                _ if bytes.is_empty() => {}
                _ => {
                    let at = self.below(bytes.len());
                    bytes[at] = self.pick(&[0, 1, 0x7f, 0x80, 0xff, self.0 as u8]);
                }
            }
        }
    }
}
