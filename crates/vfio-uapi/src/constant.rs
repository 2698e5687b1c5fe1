//! Constants: one macro declares each once, and lists them for the generator.

/// A constant as the generator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constant {
    /// The name of the uapi headers.
    pub name: &'static str,
    /// What it is worth.
    pub value: Value,
    /// What it means, in one sentence.
    pub doc: &'static str,
}

/// The worth of a constant, by its width in the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number of at most 32 bits.
    U32(u32),
    /// A number for a 64-bit field.
    U64(u64),
    /// A string, such as a device API's name.
    Text(&'static str),
}

/// Wraps a value by the spelling of its type.
macro_rules! value {
    (u32, $value:expr) => {
        $crate::constant::Value::U32($value)
    };
    (u64, $value:expr) => {
        $crate::constant::Value::U64($value)
    };
    (str, $value:expr) => {
        $crate::constant::Value::Text($value)
    };
}

/// Spells the Rust type of a constant.
macro_rules! value_type {
    (u32) => { u32 };
    (u64) => { u64 };
    (str) => { &'static str };
}

/// Declares constants and the list `CONSTANTS` of a module.
macro_rules! constants {
    ($($name:ident: $type:tt = $value:expr, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            pub const $name: $crate::constant::value_type!($type) = $value;
        )*

        /// Lists the constants of this module in order of declaration.
        pub const CONSTANTS: &[$crate::constant::Constant] = &[$(
            $crate::constant::Constant {
                name: stringify!($name),
                value: $crate::constant::value!($type, $value),
                doc: $doc,
            },
        )*];
    };
}

pub(crate) use {constants, value, value_type};
