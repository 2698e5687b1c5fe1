//! Layouts: one macro declares each structure once, with its C layout, its bytes and its reflection.
//!
//! Bytes are little-endian, as on the machines that are simulated (x86-64 and ppc64le).

/// The type of a scalar member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// `__u8`
    U8,
    /// `__u16`
    U16,
    /// `__u32`
    U32,
    /// `__u64`
    U64,
    /// `__s32`
    S32,
    /// `__s64`
    S64,
}

impl Scalar {
    /// Returns the short name, such as `"u32"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::S32 => "s32",
            Self::S64 => "s64",
        }
    }
}

/// A scalar member, or an array of scalars; members of nested structures appear as `outer.inner`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldInfo {
    /// The C name.
    pub name: String,
    /// What it holds; may be empty.
    pub doc: String,
    /// Type of the scalar or of the array's elements.
    pub scalar: Scalar,
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Elements of an array; 0 for a scalar.
    pub count: usize,
}

/// A structure as the generator sees it.
#[derive(Clone, Copy, Debug)]
pub struct StructInfo {
    /// The C name.
    pub name: &'static str,
    /// The Rust name.
    pub rust_name: &'static str,
    /// What it is for, in one sentence.
    pub doc: &'static str,
    /// Size in bytes, without a trailing array.
    pub size: usize,
    /// Describes its members in order of their offsets.
    pub fields: fn() -> Vec<FieldInfo>,
}

/// A structure of the interface.
pub trait UapiStruct: Sized {
    /// Describes it.
    const INFO: StructInfo;

    /// Reads it from the front of `bytes`; `None` where they are too few.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;

    /// Writes it to the front of `into`, padding left alone; `None` where that is too short.
    fn write_to(&self, into: &mut [u8]) -> Option<()>;
}

/// What can be a member: a scalar, an array of scalars or another structure.
pub trait Member: Sized {
    /// Appends its description.
    fn describe(name: &str, doc: &str, offset: usize, into: &mut Vec<FieldInfo>);

    /// Reads it from the front of `bytes`.
    fn decode(bytes: &[u8]) -> Option<Self>;

    /// Writes it to the front of `into`.
    fn encode(&self, into: &mut [u8]) -> Option<()>;
}

macro_rules! scalar_members {
    ($($type:ty => $scalar:ident),*) => {$(
        impl Member for $type {
            fn describe(name: &str, doc: &str, offset: usize, into: &mut Vec<FieldInfo>) {
                let (name, doc) = (name.to_owned(), doc.to_owned());
                into.push(FieldInfo { name, doc, scalar: Scalar::$scalar, offset, count: 0 });
            }

            fn decode(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().copied().map(Self::from_le_bytes)
            }

            fn encode(&self, into: &mut [u8]) -> Option<()> {
                *into.first_chunk_mut()? = self.to_le_bytes();
                Some(())
            }
        }
    )*};
}

scalar_members!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i32 => S32, i64 => S64);

impl<T: Member + Default + Copy, const N: usize> Member for [T; N] {
    fn describe(name: &str, doc: &str, offset: usize, into: &mut Vec<FieldInfo>) {
        let from = into.len();
        T::describe(name, doc, offset, into);
        into[from..].iter_mut().for_each(|field| field.count = N);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut all = [T::default(); N];
        for (i, one) in all.iter_mut().enumerate() {
            *one = T::decode(bytes.get(i * size_of::<T>()..)?)?;
        }
        Some(all)
    }

    fn encode(&self, into: &mut [u8]) -> Option<()> {
        for (i, one) in self.iter().enumerate() {
            one.encode(into.get_mut(i * size_of::<T>()..)?)?;
        }
        Some(())
    }
}

/// Declares structures and the list `STRUCTS` of a module: `Rust = "c_name" { member: type, … }`.
macro_rules! structs {
    ($(
        $(#[doc = $doc:literal])+
        $rust:ident = $c:literal { $( $(#[doc = $field_doc:literal])* $field:ident: $type:ty ),+ $(,)? }
    )*) => {
        $(
            $(#[doc = $doc])+
            #[doc = ""]
            #[doc = concat!("C name: `struct ", $c, "`.")]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            #[repr(C)]
            pub struct $rust {
                $(
                    #[doc = concat!("`", stringify!($field), "`:", $($field_doc,)* " a `", stringify!($type), "`.")]
                    pub $field: $type,
                )+
            }

            impl $crate::layout::UapiStruct for $rust {
                const INFO: $crate::layout::StructInfo = $crate::layout::StructInfo {
                    name: $c,
                    rust_name: stringify!($rust),
                    doc: concat!($($doc),+),
                    size: size_of::<Self>(),
                    fields: || {
                        let mut fields = Vec::new();
                        $(
                            <$type as $crate::layout::Member>::describe(
                                stringify!($field).trim_start_matches("r#"),
                                concat!($($field_doc),*),
                                core::mem::offset_of!(Self, $field),
                                &mut fields,
                            );
                        )+
                        fields
                    },
                };

                fn from_bytes(bytes: &[u8]) -> Option<Self> {
                    let bytes = bytes.get(..size_of::<Self>())?;
                    Some(Self {$(
                        $field: $crate::layout::Member::decode(&bytes[core::mem::offset_of!(Self, $field)..])?,
                    )+})
                }

                fn write_to(&self, into: &mut [u8]) -> Option<()> {
                    let into = into.get_mut(..size_of::<Self>())?;
                    $(
                        $crate::layout::Member::encode(
                            &self.$field,
                            &mut into[core::mem::offset_of!(Self, $field)..],
                        )?;
                    )+
                    Some(())
                }
            }

            impl $crate::layout::Member for $rust {
                fn describe(
                    name: &str,
                    _doc: &str,
                    offset: usize,
                    into: &mut Vec<$crate::layout::FieldInfo>,
                ) {
                    let inner = (<Self as $crate::layout::UapiStruct>::INFO.fields)();
                    into.extend(inner.into_iter().map(|field| $crate::layout::FieldInfo {
                        name: format!("{name}.{}", field.name),
                        offset: offset + field.offset,
                        ..field
                    }));
                }

                fn decode(bytes: &[u8]) -> Option<Self> {
                    $crate::layout::UapiStruct::from_bytes(bytes)
                }

                fn encode(&self, into: &mut [u8]) -> Option<()> {
                    $crate::layout::UapiStruct::write_to(self, into)
                }
            }
        )*

        /// Lists the structures of this module in order of declaration.
        pub const STRUCTS: &[$crate::layout::StructInfo] =
            &[$(<$rust as $crate::layout::UapiStruct>::INFO),*];
    };
}

pub(crate) use structs;
