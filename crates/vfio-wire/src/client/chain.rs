//! Capability chains as a server sends them.

use vfio_device::ops::InfoCapability;
use vfio_uapi::Errno;

use crate::message::{Fields, RegionInfoBody};

/// Reads the chain behind a region's description, of which the first capability is `at` bytes into the structure.
///
/// # Errors
/// `EPROTO` it does not lead forward, or out of the message.
pub(super) fn decode(mut at: u32, chain: &[u8]) -> Result<Vec<InfoCapability>, Errno> {
    let mut capabilities = Vec::new();
    while at != 0 {
        let start = at.checked_sub(RegionInfoBody::SIZE).ok_or(Errno::EPROTO)? as usize;
        let mut fields = Fields::new(chain.get(start..).ok_or(Errno::EPROTO)?);
        let header = (fields.u16(), fields.u16(), fields.u32());
        let (Some(id), Some(version), Some(next)) = header else { return Err(Errno::EPROTO) };
        // Offsets that go back would never end.
        let len = match next {
            0 => fields.rest().len(),
            next => next.checked_sub(at).and_then(|span| span.checked_sub(8)).ok_or(Errno::EPROTO)? as usize,
        };
        let payload = fields.bytes(len).ok_or(Errno::EPROTO)?.to_vec();
        capabilities.push(InfoCapability { id, version, payload });
        at = next;
    }
    Ok(capabilities)
}
