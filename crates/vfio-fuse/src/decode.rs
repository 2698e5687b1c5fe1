//! Numbers and names out of the bytes of a request.

/// Reads a message from its front to its end; `None` where it is too short.
pub(crate) struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// Starts at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Takes the next bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Passes over bytes.
    pub(crate) fn skip(&mut self, length: usize) -> Option<()> {
        self.bytes(length).map(drop)
    }

    /// Takes a 16-bit number.
    pub(crate) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.bytes(2)?.try_into().ok()?))
    }

    /// Takes a 32-bit number.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes(4)?.try_into().ok()?))
    }

    /// Takes a 64-bit number.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// Takes a name, which ends with a NUL.
    pub(crate) fn name(&mut self) -> Option<Vec<u8>> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let name = self.bytes(length)?.to_vec();
        self.skip(1)?;
        Some(name)
    }
}
