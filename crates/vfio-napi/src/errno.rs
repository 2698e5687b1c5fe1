//! How a refusal leaves: an exception whose `code` is the errno's name.

use std::fmt::Display;

use vfio_uapi::Errno;

/// The `code` of an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The system refused.
    Errno(Errno),
    /// A value cannot be what its type says.
    OutOfRange,
    /// The binding itself failed: a panic, or an engine that is shutting down.
    Failure,
}

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        match self {
            Self::Errno(errno) => errno.name(),
            Self::OutOfRange => "ERR_OUT_OF_RANGE",
            Self::Failure => "ERR_VFIO_NATIVE",
        }
    }
}

/// Result of a method of a class.
pub(crate) type Result<T> = std::result::Result<T, napi::Error<Code>>;

/// Makes the exception of an errno.
pub(crate) fn throw(errno: Errno) -> napi::Error<Code> {
    napi::Error::new(Code::Errno(errno), errno.to_string())
}

/// Makes the exception of a value outside its type.
pub(crate) fn out_of_range(name: &str) -> napi::Error<Code> {
    napi::Error::new(Code::OutOfRange, format!("{name} is out of range"))
}

/// Makes the exception of a failure of the binding.
pub(crate) fn failure(reason: impl Display) -> napi::Error<Code> {
    napi::Error::new(Code::Failure, reason.to_string())
}
