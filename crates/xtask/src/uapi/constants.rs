//! `ts/uapi/constants.ts`.

use std::fmt::Write as _;

use vfio_uapi::constant::Value;

use super::Header;
use super::source::{doc, header, number, quote};

/// Makes the file.
pub(super) fn source(of: &Header) -> String {
    let mut source = header(&format!("Constants of {}; those for 64-bit fields are bigints.", of.name));
    for section in of.sections.iter().filter(|section| !section.constants.is_empty()) {
        let _ = write!(source, "\n// {}\n\n", section.title);
        for constant in section.constants {
            let value = match constant.value {
                Value::U32(value) => number(u64::from(value)),
                Value::U64(value) => format!("{}n", number(value)),
                Value::Text(text) => quote(text),
            };
            let _ = writeln!(source, "{}export const {} = {value}", doc("", constant.doc), constant.name);
        }
    }
    source
}
