//! Who a controller is: the texts and numbers that identify it.

use vfio_uapi::Errno;

use super::config::NvmeConfig;

/// Holds what a controller says of itself.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) vendor: u16,
    pub(super) subsystem_vendor: u16,
    pub(super) serial: [u8; 20],
    pub(super) model: [u8; 40],
    pub(super) firmware: [u8; 8],
    pub(super) queue_pairs: u16,
    pub(super) subsystem_name: String,
    pub(super) namespace_uuid: [u8; 16],
}

impl Profile {
    /// Makes a profile.
    ///
    /// # Errors
    /// `EINVAL` a text is too long or not printable.
    pub(super) fn new(config: &NvmeConfig) -> Result<Self, Errno> {
        let uuid = |kind: &str| uuid(&[kind, &config.model, &config.serial]);
        Ok(Self {
            vendor: config.identity.vendor,
            subsystem_vendor: config.identity.subsystem_vendor,
            serial: padded(&config.serial)?,
            model: padded(&config.model)?,
            firmware: padded(&config.firmware)?,
            queue_pairs: config.queue_pairs,
            subsystem_name: format!("nqn.2014-08.org.nvmexpress:uuid:{}", text(uuid("subsystem"))),
            namespace_uuid: uuid("namespace"),
        })
    }
}

/// Pads a text with spaces, as identify data has it.
fn padded<const N: usize>(text: &str) -> Result<[u8; N], Errno> {
    let mut bytes = [b' '; N];
    let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let place = bytes.get_mut(..text.len()).filter(|_| printable).ok_or(Errno::EINVAL)?;
    place.copy_from_slice(text.as_bytes());
    Ok(bytes)
}

/// Derives a UUID from names, the same one every time: FNV-1a, marked as a UUID of one's own making (version 8).
fn uuid(names: &[&str]) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    let mut uuid = hash.to_be_bytes();
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

fn text(uuid: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(uuid));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
