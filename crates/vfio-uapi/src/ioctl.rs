//! Ioctl numbers: one macro declares each request once; the number depends on the architecture's encoding.

use crate::layout::StructInfo;

/// Which way the argument travels, as `_IO`, `_IOR`, `_IOW` and `_IOWR` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `_IO`: not said.
    IO,
    /// `_IOR`: the kernel writes the argument.
    IOR,
    /// `_IOW`: the kernel reads the argument.
    IOW,
    /// `_IOWR`: both.
    IOWR,
}

/// An architecture, as far as its ioctl encoding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// The generic encoding: x86, arm64, riscv, s390.
    X86,
    /// The encoding of powerpc.
    Ppc64,
}

/// An ioctl request.
#[derive(Clone, Copy, Debug)]
pub struct Ioctl {
    /// The name of the uapi headers.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// Which way its argument travels.
    pub direction: Direction,
    /// The type byte, such as `';'`.
    pub kind: u8,
    /// The number within the type.
    pub nr: u8,
    /// The structure that the argument points to, if any.
    pub argument: Option<StructInfo>,
    /// Size in bytes of a plain number that the argument points to; 0: it points to none.
    pub scalar: usize,
}

impl Ioctl {
    /// Encodes the request for an architecture.
    #[must_use]
    pub const fn number(&self, arch: Arch) -> u32 {
        let size = match (self.direction, &self.argument) {
            (Direction::IO, _) => 0,
            (_, None) => self.scalar as u32,
            (_, Some(argument)) => argument.size as u32,
        };
        let direction = match (arch, self.direction) {
            (Arch::X86, Direction::IO) => 0,
            (Arch::X86, Direction::IOW) => 1 << 30,
            (Arch::X86, Direction::IOR) => 2 << 30,
            (Arch::X86, Direction::IOWR) => 3 << 30,
            (Arch::Ppc64, Direction::IO) => 1 << 29,
            (Arch::Ppc64, Direction::IOR) => 2 << 29,
            (Arch::Ppc64, Direction::IOW) => 4 << 29,
            (Arch::Ppc64, Direction::IOWR) => 6 << 29,
        };
        direction | size << 16 | (self.kind as u32) << 8 | self.nr as u32
    }
}

/// Declares requests and the list `IOCTLS` of a module: `NAME = IO(nr), Argument;`, or `NAME = IOW(nr; i32);` where the
/// argument points to a plain number.
macro_rules! ioctls {
    (@scalar) => { 0 };
    (@scalar $scalar:ty) => { size_of::<$scalar>() };
    (@argument) => { None };
    (@argument $argument:ty) => { Some(<$argument as $crate::layout::UapiStruct>::INFO) };
    ($kind:expr; $(
        $(#[doc = $doc:literal])+
        $name:ident = $direction:ident($nr:expr $(; $scalar:ty)?) $(, $argument:ty)?;
    )*) => {
        $(
            $(#[doc = $doc])+
            pub const $name: $crate::ioctl::Ioctl = $crate::ioctl::Ioctl {
                name: stringify!($name),
                doc: concat!($($doc),+),
                direction: $crate::ioctl::Direction::$direction,
                kind: $kind,
                nr: $nr,
                argument: $crate::ioctl::ioctls!(@argument $($argument)?),
                scalar: $crate::ioctl::ioctls!(@scalar $($scalar)?),
            };
        )*

        /// Lists the requests of this module in order of declaration.
        pub const IOCTLS: &[$crate::ioctl::Ioctl] = &[$($name),*];
    };
}

pub(crate) use ioctls;
