//! Version negotiation: what each side can do and how much it takes at once.

use serde_json::{Map, Value};

use crate::message::{Fields, put_u16};

/// Major version that this crate speaks.
pub const MAJOR: u16 = 0;
/// Highest minor version that this crate speaks.
pub const MINOR: u16 = 1;

/// Longest version string that is read, bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Deepest nesting that is read.
const MAX_DEPTH: usize = 8;

/// Limits and abilities of one side; the defaults are those of a side that says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Descriptors beside one message.
    pub max_msg_fds: u64,
    /// Bytes of data in one message.
    pub max_data_xfer_size: u64,
    /// Mappings at once.
    pub max_dma_maps: u64,
    /// Page sizes that the side can map, a bitmap.
    pub pgsizes: u64,
    /// `VFIO_USER_REGION_WRITE_MULTI` is understood.
    pub write_multiple: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            max_msg_fds: 1,
            max_data_xfer_size: 1 << 20,
            max_dma_maps: 65_535,
            pgsizes: 4096,
            write_multiple: false,
        }
    }
}

/// A version message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Major version.
    pub major: u16,
    /// Minor version.
    pub minor: u16,
    /// What its sender can do.
    pub capabilities: Capabilities,
}

/// Says why a version message cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionError {
    /// Shorter than its two numbers.
    Short,
    /// The text does not end with a NUL, or has one inside.
    Unterminated,
    /// The text is longer than anyone needs.
    Long,
    /// The text is no JSON object, or is nested too deeply.
    NotJson,
    /// A capability has a value of the wrong type.
    BadValue,
}

impl Version {
    /// Reads the body of a version message. Unknown keys are passed over; absent ones have their defaults.
    ///
    /// # Errors
    /// See [`VersionError`].
    pub fn read(body: &[u8]) -> Result<Self, VersionError> {
        let mut fields = Fields::new(body);
        let (Some(major), Some(minor)) = (fields.u16(), fields.u16()) else {
            return Err(VersionError::Short);
        };
        let capabilities = match fields.rest() {
            [] => Capabilities::default(),
            text => read_capabilities(text)?,
        };
        Ok(Self { major, minor, capabilities })
    }

    /// Appends the body of a version message.
    pub fn write(&self, to: &mut Vec<u8>) {
        put_u16(to, self.major);
        put_u16(to, self.minor);
        let Capabilities { max_msg_fds, max_data_xfer_size, max_dma_maps, pgsizes, write_multiple } =
            &self.capabilities;
        let mut capabilities = Map::new();
        capabilities.insert("max_msg_fds".into(), (*max_msg_fds).into());
        capabilities.insert("max_data_xfer_size".into(), (*max_data_xfer_size).into());
        capabilities.insert("max_dma_maps".into(), (*max_dma_maps).into());
        capabilities.insert("pgsizes".into(), (*pgsizes).into());
        if *write_multiple {
            capabilities.insert("write_multiple".into(), true.into());
        }
        let mut object = Map::new();
        object.insert("capabilities".into(), Value::Object(capabilities));
        to.extend_from_slice(Value::Object(object).to_string().as_bytes());
        to.push(0);
    }

    /// Returns the version that a server answers a client with: the lower minor of the two.
    #[must_use]
    pub fn answered_minor(&self) -> u16 {
        self.minor.min(MINOR)
    }
}

fn read_capabilities(text: &[u8]) -> Result<Capabilities, VersionError> {
    if text.len() > MAX_TEXT {
        return Err(VersionError::Long);
    }
    let Some((0, json)) = text.split_last() else { return Err(VersionError::Unterminated) };
    if json.contains(&0) {
        return Err(VersionError::Unterminated);
    }
    if depth(json) > MAX_DEPTH {
        return Err(VersionError::NotJson);
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(json) else { return Err(VersionError::NotJson) };
    let mut known = Capabilities::default();
    let Some(said) = object.get("capabilities") else { return Ok(known) };
    let said = said.as_object().ok_or(VersionError::BadValue)?;
    for (key, value) in said {
        let number = || value.as_u64().ok_or(VersionError::BadValue);
        match key.as_str() {
            "max_msg_fds" => known.max_msg_fds = number()?,
            "max_data_xfer_size" => known.max_data_xfer_size = number()?,
            "max_dma_maps" => known.max_dma_maps = number()?,
            "pgsizes" => known.pgsizes = number()?,
            "write_multiple" => known.write_multiple = value.as_bool().ok_or(VersionError::BadValue)?,
            _ => {}
        }
    }
    Ok(known)
}

/// Nesting of brackets, strings not looked at: an upper bound is all that is wanted.
fn depth(json: &[u8]) -> usize {
    let (mut now, mut deepest) = (0_usize, 0);
    for byte in json {
        match byte {
            b'{' | b'[' => now += 1,
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(now);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_version_is_read_back() {
        let version = Version {
            major: 0,
            minor: 1,
            capabilities: Capabilities { max_msg_fds: 16, write_multiple: true, ..Capabilities::default() },
        };
        let mut body = Vec::new();
        version.write(&mut body);
        assert_eq!(body.last(), Some(&0));
        assert_eq!(Version::read(&body), Ok(version));
    }

    #[test]
    fn text_that_is_cut_nested_or_no_object_is_refused() {
        let with = |text: &[u8]| Version::read(&[&[0, 0, 0, 0], text].concat());
        assert_eq!(Version::read(&[0, 0, 0]), Err(VersionError::Short));
        assert_eq!(with(b"{}"), Err(VersionError::Unterminated));
        assert_eq!(with(b"{}\0{}\0"), Err(VersionError::Unterminated));
        assert_eq!(with(b"[]\0"), Err(VersionError::NotJson));
        assert_eq!(with(&[&b"[".repeat(500)[..], &[0]].concat()), Err(VersionError::NotJson));
        assert_eq!(with(&[&b" ".repeat(MAX_TEXT)[..], &[0]].concat()), Err(VersionError::Long));
        assert_eq!(
            with(br#"{"capabilities":{"max_msg_fds":-1}}"#.as_slice()),
            Err(VersionError::Unterminated)
        );
        assert_eq!(with(b"{\"capabilities\":{\"max_msg_fds\":-1}}\0"), Err(VersionError::BadValue));
        assert!(with(b"{\"capabilities\":{\"from the future\":{}}}\0").is_ok());
        assert!(with(b"").is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = Version::read(&body);
        }
    }
}
